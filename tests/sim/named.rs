//! The histories behind the laws, each by its number.
