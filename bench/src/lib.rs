//! Load, floors and comparison
