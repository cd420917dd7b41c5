//! Pages of a list that is read by a growing key.

use tonic::Status;

/// Rows of a page when the caller does not say.
const DEFAULT_SIZE: u32 = 500;
/// Rows of a page at most.
const MAX_SIZE: u32 = 5_000;

/// Which page of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    cursor: &'a str,
    /// Rows of it at most.
    pub size: u32,
}

impl<'a> Page<'a> {
    /// Takes `page_size` and `cursor` of a request; a size above the limit is refused.
    #[allow(clippy::result_large_err, reason = "tonic's own error type")]
    pub fn new(page_size: u32, cursor: &'a str) -> Result<Self, Status> {
        let size = if page_size == 0 {
            DEFAULT_SIZE
        } else {
            page_size
        };
        if size > MAX_SIZE {
            return Err(Status::invalid_argument(format!(
                "page_size is {size}, at most {MAX_SIZE} is allowed"
            )));
        }
        Ok(Self { cursor, size })
    }

    /// The name after which the page begins; empty: at the first.
    pub fn after_name(&self) -> &'a str {
        self.cursor
    }

    /// The number after which the page begins; a cursor that is none is refused.
    #[allow(clippy::result_large_err, reason = "tonic's own error type")]
    pub fn after_number(&self) -> Result<i64, Status> {
        if self.cursor.is_empty() {
            return Ok(0);
        }
        self.cursor.parse().map_err(|_| {
            Status::invalid_argument("cursor is not the next_cursor of a page of this list")
        })
    }
}

/// The cursor of the page after one that ends with `last` and has `rows` of `page.size` rows.
pub fn next_cursor(page: Page<'_>, rows: usize, last: Option<String>) -> String {
    let full = usize::try_from(page.size).is_ok_and(|size| rows >= size);
    if full {
        last.unwrap_or_default()
    } else {
        String::new()
    }
}
