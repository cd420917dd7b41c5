//! The choice of a store by the text that names its database.

use std::sync::Arc;

use crate::{SqliteOptions, SqliteStore, Store, StoreError};

/// The forms that [`open`] accepts, for error messages.
const ACCEPTED: &str = "accepted are the path of a SQLite file, sqlite:PATH and sqlite://PATH";

/// Opens the database that `database` names, making it where there is none, and brings its tables up to date.
///
/// | text | database |
/// |---|---|
/// | `data/tercet.db`, `/var/lib/tercet/tercet.db` | SQLite, this file |
/// | `sqlite:data/tercet.db`, `sqlite:///var/lib/tercet/tercet.db` | the same |
///
/// A path is taken as it is written: nothing in it is decoded or expanded. A text whose first `:` follows a URL's
/// scheme is never a path; for a file with such a name, write `./` before it.
///
/// # Errors
/// A text of another form, which is refused by the name of its scheme alone, since the rest may hold a password; and
/// every error of [`SqliteStore::open`] with the default options.
pub async fn open(database: &str) -> Result<Arc<dyn Store>, StoreError> {
    let refused = |what: String| StoreError::fatal("opening the database", with_accepted(&what));
    let path = sqlite_path(database).map_err(refused)?;
    let store = SqliteStore::open(path, SqliteOptions::default()).await?;
    Ok(Arc::new(store))
}

/// Returns the path of the SQLite file that the text names.
///
/// # Errors
/// The reason why it names none, to be read on from the text or its name.
pub fn sqlite_path(database: &str) -> Result<&str, String> {
    let path = match scheme(database) {
        None => database,
        Some(scheme) if scheme.eq_ignore_ascii_case("sqlite") => {
            let rest = &database[scheme.len() + 1..];
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.contains('?') {
                return Err("takes no parameters after a question mark".to_owned());
            }
            path
        }
        Some(scheme) => {
            return Err(format!(
                "begins with {scheme}:, which names no database that this program can use"
            ));
        }
    };
    let wrong = if path.trim().is_empty() {
        "names no file"
    } else if path.trim() != path {
        "begins or ends with white space"
    } else if path.contains('\0') {
        "contains a NUL character"
    } else if path.starts_with(':') {
        "names a database in memory, which would be lost with the process"
    } else if path.ends_with('/') {
        "names a folder"
    } else {
        return Ok(path);
    };
    Err(wrong.to_owned())
}

fn with_accepted(what: &str) -> String {
    format!("its text {what}; {ACCEPTED}")
}

/// Returns the URL scheme that the text begins with.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::{sqlite_path, with_accepted};

    #[test]
    fn every_form_has_its_path() {
        let table = [
            ("tercet.db", "tercet.db"),
            ("./data/tercet.db", "./data/tercet.db"),
            ("/var/lib/tercet/tercet.db", "/var/lib/tercet/tercet.db"),
            ("my data/tercet?.db", "my data/tercet?.db"),
            ("data/a:b.db", "data/a:b.db"),
            ("./postgres:", "./postgres:"),
            ("100%25.db", "100%25.db"),
            ("sqlite:tercet.db", "tercet.db"),
            ("sqlite:/var/tercet.db", "/var/tercet.db"),
            ("sqlite://tercet.db", "tercet.db"),
            ("sqlite://./tercet.db", "./tercet.db"),
            ("sqlite:///var/tercet.db", "/var/tercet.db"),
            ("SQLite:tercet.db", "tercet.db"),
        ];
        for (text, path) in table {
            assert_eq!(sqlite_path(text).as_deref(), Ok(path), "{text:?}");
        }
    }

    #[test]
    fn every_other_form_is_refused_by_name() {
        let table = [
            ("postgres://u:secret@host/tercet", "postgres:"),
            ("postgresql://host/tercet", "postgresql:"),
            ("mysql://root:secret@host/tercet", "mysql:"),
            ("mariadb://host/tercet", "mariadb:"),
            ("mysql:tercet", "mysql:"),
            ("file:tercet.db", "file:"),
            ("file:///var/tercet.db", "file:"),
            ("sqlite3:tercet.db", "sqlite3:"),
            ("s3+https://bucket", "s3+https:"),
            ("", "no file"),
            (" ", "no file"),
            ("sqlite:", "no file"),
            ("sqlite://", "no file"),
            (" tercet.db", "white space"),
            ("tercet.db\n", "white space"),
            (" postgres://host/tercet", "white space"),
            ("ter\0cet.db", "NUL"),
            (":memory:", "memory"),
            ("sqlite::memory:", "memory"),
            ("sqlite://:memory:", "memory"),
            ("sqlite:tercet.db?mode=ro", "parameters"),
            ("data/", "folder"),
            ("/", "folder"),
        ];
        for (text, named) in table {
            let what = with_accepted(&sqlite_path(text).expect_err(text));
            assert!(what.contains(named), "{text:?}: {what}");
            assert!(what.contains("sqlite:PATH"), "{text:?}: {what}");
            assert!(!what.contains("secret"), "{text:?}: {what}");
        }
    }
}
