//! What is kept on disk between runs.

pub mod offered;
