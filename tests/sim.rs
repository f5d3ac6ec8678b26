//! The pure ends driven by a model of the disk: every interleaving that a seed can draw.

mod applier;
mod dice;
mod marks;
mod tree;
