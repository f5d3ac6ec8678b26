//! What an operator remembers between runs.
