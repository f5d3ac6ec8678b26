//! Tests on real directories.
