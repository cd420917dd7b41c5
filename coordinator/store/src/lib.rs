//! Where transactions are kept: the trait, and SQLite
