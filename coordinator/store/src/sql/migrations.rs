//! The embedded files of `migrations/`.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// One file: its number, its description and its text.
pub(crate) type MigrationFile = (i64, &'static str, &'static str);

/// Makes the migrator that applies these files in their order. It leaves tables of a later version as they are: this
/// program works with them too.
pub(crate) fn migrator(files: &[MigrationFile]) -> Migrator {
    let migration = |&(version, description, text): &MigrationFile| {
        let (kind, text) = (MigrationType::Simple, text.into_sql_str());
        Migration::new(version, description.into(), kind, text, false)
    };
    let mut migrator = Migrator::with_migrations(files.iter().map(migration).collect());
    migrator.set_ignore_missing(true);
    migrator
}
