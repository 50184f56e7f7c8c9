//! A deterministic simulator: several databases, one seed, every order of delivery, clocks that jump, forks, and a
//! member that is hostile. What a run checks is compared with `reference`, which computes everything from nothing.
//!
//! Modules are listed low to high; a module uses only those above it.

pub mod dice;
pub mod pieces;
pub mod reference;
pub mod hostile;
pub mod disk;
pub mod peer;
pub mod world;
pub mod line;
pub mod mesh;
pub mod seeds;
pub mod verify;

pub use verify::{MESH_STEPS, STEPS, run, run_mesh};
