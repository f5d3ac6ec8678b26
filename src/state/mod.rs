//! What an operator remembers between runs.
//! What is kept on disk between runs.

pub mod offered;
