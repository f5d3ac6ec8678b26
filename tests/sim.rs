//! The pure ends driven by a model of the disk: every interleaving that a seed can draw.

mod applier;
mod compare;
mod dice;
mod history;
mod link;
mod listings;
mod marks;
mod named;
mod random;
mod rulings;
mod small;
mod tree;
mod world;
