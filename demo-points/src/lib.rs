//! The points service of the demo
