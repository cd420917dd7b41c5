//! The orders' file, read line by line: a line that is no order is reported with its number, and the
//! rest runs.

use demo_points::accounts::MAX_POINTS;
use demo_service::check_name;
use serde::Serialize;

use crate::seeds::Seeds;

/// The first line of the file.
const HEADER: [&str; 4] = ["order_id", "user", "points", "coupon"];
/// The longest line; what is longer is not an order.
const MAX_LINE_BYTES: usize = 1_024;
/// The most lines of a file.
const MAX_LINES: usize = 100_000;
/// The most characters of a line's content that a report repeats.
const MAX_QUOTED_CHARS: usize = 40;

/// One order: a user gives points for a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Its number; the transaction's business id.
    pub id: String,
    /// Who gives points and gets the coupon.
    pub user: String,
    /// How many.
    pub points: i64,
    /// The kind of coupon.
    pub coupon: String,
}

/// A line that is not an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BadOrder {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A file of orders, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    /// Those that can be fed, in their order.
    pub good: Vec<Order>,
    /// Those that cannot.
    pub bad: Vec<BadOrder>,
}

impl Orders {
    /// Reads a file. Only one that is no orders' file at all is an error.
    pub(crate) fn read(bytes: &[u8], seeds: &Seeds) -> Result<Self, String> {
        let mut lines = bytes
            .split(|byte| *byte == b'\n')
            .map(without_return)
            .enumerate();
        let header = lines.next().and_then(|(_, first)| fields(first).ok());
        if header.as_deref() != Some(&HEADER.map(str::to_owned)) {
            return Err(format!("line 1 is not the header {:?}", HEADER.join(",")));
        }
        let mut orders = Self::default();
        for (index, bytes) in lines {
            let line = index + 1;
            if line > MAX_LINES {
                return Err(format!("more than {MAX_LINES} lines; split the file"));
            }
            if bytes.is_empty() {
                continue;
            }
            match order(line, bytes, seeds) {
                Ok(order) => orders.good.push(order),
                Err(reason) => orders.bad.push(BadOrder { line, reason }),
            }
        }
        Ok(orders)
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Splits one line. A quoted field may hold commas, but never the line's end: so one unbalanced quote
/// spoils one line.
fn fields(line: &[u8]) -> Result<Vec<String>, String> {
    if line.len() > MAX_LINE_BYTES {
        let len = line.len();
        return Err(format!(
            "the line has {len} bytes, at most {MAX_LINE_BYTES} are allowed"
        ));
    }
    let text = std::str::from_utf8(line).map_err(|error| {
        format!(
            "the line is not UTF-8 from its byte {} on",
            error.valid_up_to() + 1
        )
    })?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    match reader.records().next() {
        Some(Ok(record)) => Ok(record.iter().map(str::to_owned).collect()),
        Some(Err(error)) => Err(format!("malformed: {error}")),
        None => Ok(vec![String::new()]),
    }
}

fn order(line: usize, bytes: &[u8], seeds: &Seeds) -> Result<Order, String> {
    let fields = fields(bytes)?;
    let [id, user, points, coupon] = fields.as_slice() else {
        let (found, expected) = (fields.len(), HEADER.len());
        return Err(format!(
            "{found} field(s), expected {expected}: {}",
            HEADER.join(",")
        ));
    };
    if fields == HEADER {
        return Err("the header again".to_owned());
    }
    check_name("order_id", id)?;
    check_name("user", user)?;
    check_name("coupon", coupon)?;
    if !seeds
        .points
        .accounts
        .iter()
        .any(|account| account.user == *user)
    {
        return Err(format!("unknown user {}", quoted(user)));
    }
    if !seeds
        .coupons
        .coupons
        .iter()
        .any(|kind| kind.kind == *coupon)
    {
        return Err(format!("unknown kind of coupon {}", quoted(coupon)));
    }
    let points: i64 = points
        .parse()
        .map_err(|_| format!("points is {}, no whole number", quoted(points)))?;
    if !(1..=MAX_POINTS).contains(&points) {
        return Err(format!("points is {points}, it must be 1 to {MAX_POINTS}"));
    }
    Ok(Order {
        line,
        id: id.clone(),
        user: user.clone(),
        points,
        coupon: coupon.clone(),
    })
}

fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn seeds() -> Seeds {
        Seeds::parse(
            "[[account]]\nuser = \"ann\"\npoints = 10\n\
             [[coupon]]\nkind = \"tea\"\nstock = 1\nper_user = 1\n",
        )
        .unwrap()
    }

    fn read(rest: &[u8]) -> Orders {
        let mut file = b"order_id,user,points,coupon\n".to_vec();
        file.extend_from_slice(rest);
        Orders::read(&file, &seeds()).unwrap()
    }

    #[test]
    fn a_good_line_is_an_order_with_its_number() {
        let orders = read(b"\r\n o-1 ,ann,5,tea\r\n\"o,2\",ann,+6,tea");
        let order = |line, id: &str, points| Order {
            line,
            id: id.to_owned(),
            user: "ann".to_owned(),
            points,
            coupon: "tea".to_owned(),
        };
        assert_eq!(orders.good, [order(3, "o-1", 5), order(4, "o,2", 6)]);
        assert_eq!(orders.bad, []);
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_read() {
        let long = "x".repeat(MAX_LINE_BYTES);
        let long_name = format!("{},ann,1,tea", "n".repeat(129));
        let cases: [(&[u8], &str); 14] = [
            (b"o-1,bob,5,tea", "unknown user \"bob\""),
            (b"o-1,ann,5,gin", "unknown kind of coupon \"gin\""),
            (
                b"o-1,ann,-5,tea",
                "points is -5, it must be 1 to 1000000000",
            ),
            (b"o-1,ann,0,tea", "points is 0,"),
            (b"o-1,ann,99999999999999999999,tea", "no whole number"),
            (b"o-1,ann,1.5,tea", "points is \"1.5\", no whole number"),
            (b"o-1,ann,5", "3 field(s), expected 4"),
            (b"o-1,ann,5,tea,more", "5 field(s), expected 4"),
            (b"\"o-1,ann,5,tea", "1 field(s), expected 4"),
            (b",ann,5,tea", "order_id is empty"),
            (b"order_id,user,points,coupon", "the header again"),
            (b"o-1,a\xffn,5,tea", "not UTF-8 from its byte 6 on"),
            (long.as_bytes(), "1 field(s)"),
            (long_name.as_bytes(), "order_id has 129 bytes"),
        ];
        for (line, reason) in cases {
            let mut rest = line.to_vec();
            rest.extend_from_slice(b"\no-2,ann,5,tea\n");
            let orders = read(&rest);
            assert_eq!(orders.good.len(), 1, "{reason}");
            assert_eq!(orders.bad.len(), 1, "{reason}");
            assert_eq!(orders.bad[0].line, 2);
            assert!(
                orders.bad[0].reason.contains(reason),
                "{:?}: {reason}",
                orders.bad
            );
        }
        let huge = format!("{long}y\no-2,ann,5,tea");
        assert!(
            read(huge.as_bytes()).bad[0]
                .reason
                .contains("has 1025 bytes, at most 1024")
        );
    }

    #[test]
    fn a_file_that_has_no_orders_is_refused() {
        for file in [&b""[..], b"o-1,ann,5,tea\n", b"\xff\xfe"] {
            let error = Orders::read(file, &seeds()).unwrap_err();
            assert!(error.contains("line 1 is not the header"), "{error}");
        }
    }
}
