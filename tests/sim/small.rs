//! Small histories, all of them.
