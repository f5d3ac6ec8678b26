//! A source in miniature, without watcher or map: marks, looks, answers, and nothing more. It shows
//! that the applier alone keeps its word when operations cross each other in every way.
