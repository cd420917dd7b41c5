//! The texts of the sources: literals that log lines and errors are made of.

use std::{fs, path::Path};

/// The folders of the programs that print the samples.
const FOLDERS: [&str; 4] = [
    "coordinator/cli/src",
    "coordinator/core/src",
    "coordinator/server/src",
    "coordinator/store/src",
];

/// Parts of errors that are not Tercet's: SQLite's own words, and names of a sample.
const FOREIGN: [&str; 3] = ["no such table", "operator_log", "Tree 12 page 12 cell 166"];

/// The letters that a literal has at least, to hold a part of an error.
const LETTERS: usize = 6;

/// The sources, and their literals.
pub(crate) struct Sources {
    files: Vec<(String, String)>,
    literals: Vec<String>,
}

/// The parts of a line of the log.
struct Logged<'l> {
    level: &'l str,
    module: &'l str,
    text: &'l str,
}

/// Returns whether a line is one of the log: a time, and a level.
pub(crate) fn is_logged(line: &str) -> bool {
    parse(line).is_some()
}

fn parse(line: &str) -> Option<Logged<'_>> {
    let (_time, rest) = line.split_once("Z ")?;
    let (level, rest) = rest.trim_start().split_once(' ')?;
    let (module, text) = rest.split_once(": ")?;
    ["ERROR", "WARN", "INFO", "DEBUG"]
        .contains(&level)
        .then_some(Logged {
            level,
            module,
            text,
        })
}

impl Sources {
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = Vec::new();
        for folder in FOLDERS {
            read_into(&root.join(folder), folder, &mut files);
        }
        let literals = files.iter().flat_map(|(_, text)| literals(text)).collect();
        Self { files, literals }
    }

    /// Holds a line of the log: its module has an event of its level with its message and fields.
    pub(crate) fn logged(&self, line: &str) -> Result<(), String> {
        let logged = parse(line).ok_or_else(|| format!("not a line of the log: {line}"))?;
        let folder = logged.module.replacen("tercet_", "coordinator/", 1);
        let path = folder.replacen("::", "/src/", 1).replace("::", "/");
        let is_its = |file: &&(String, String)| {
            file.0 == format!("{path}.rs") || file.0 == format!("{path}/mod.rs")
        };
        let (_, source) = self
            .files
            .iter()
            .find(is_its)
            .ok_or_else(|| format!("there is no module {}", logged.module))?;
        let start = format!("{}!(", logged.level.to_lowercase());
        let events = source.split(&start).skip(1).map(until_end);
        let mut events = events.filter(|event| {
            literals(event)
                .iter()
                .any(|message| message.len() > LETTERS && is_message(logged.text, message))
        });
        let fields = fields(logged.text);
        events
            .next()
            .filter(|event| fields.iter().all(|field| has_field(event, field)))
            .map(|_| ())
            .ok_or_else(|| {
                format!(
                    "no event {} of {} has this message, and fields {fields:?}: {line}",
                    logged.level, logged.module
                )
            })
    }

    /// Returns whether some module has an event of this level with this message, or with one that begins so where the text
    /// ends in an ellipsis.
    pub(crate) fn has_event(&self, level: &str, text: &str) -> bool {
        let start = format!("{}!(", level.to_lowercase());
        let events = self
            .files
            .iter()
            .flat_map(|(_, source)| source.split(&start).skip(1));
        events.map(until_end).any(|event| {
            literals(event)
                .iter()
                .any(|message| match text.strip_suffix('…') {
                    Some(beginning) => message.starts_with(beginning.trim_end()),
                    None => message == text,
                })
        })
    }

    /// Returns the messages of all warnings and errors.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let of_level = |start: &'static str| {
            let events = self
                .files
                .iter()
                .flat_map(move |(_, source)| source.split(start).skip(1));
            events.map(until_end)
        };
        let events = of_level(" warn!(").chain(of_level(" error!("));
        events.filter_map(|event| literals(event).pop()).collect()
    }

    /// Holds an error: a cause after the other, each of a literal.
    pub(crate) fn error(&self, line: &str) -> Result<(), String> {
        let text = line.strip_prefix("error: ").unwrap_or(line);
        if self.is_made(text) {
            Ok(())
        } else {
            Err(format!("no literals make this error: {line}"))
        }
    }

    /// Returns whether a text is a chain of texts that literals make, with ": " or "; " between them.
    fn is_made(&self, text: &str) -> bool {
        let is_one = |part: &str| {
            FOREIGN.contains(&part) || self.literals.iter().any(|literal| matches(literal, part))
        };
        if text.is_empty() || is_one(text) {
            return true;
        }
        let ends = text.match_indices(": ").map(|(at, _)| at);
        ends.collect::<Vec<_>>()
            .into_iter()
            .rev()
            .any(|at| is_one(&text[..at]) && self.is_made(&text[at + 2..]))
    }
}

/// Returns whether a text is made by a literal: its fixed parts in their order, the first and the last at the ends.
fn matches(literal: &str, text: &str) -> bool {
    let parts = fixed(literal);
    let letters: usize = parts.iter().map(|part| letters(part)).sum();
    if letters < LETTERS {
        return false;
    }
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return false;
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    if parts.len() == 1 {
        return rest.is_empty();
    }
    for part in &parts[1..parts.len() - 1] {
        let Some(at) = rest.find(part.as_str()) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

fn letters(text: &str) -> usize {
    text.chars().filter(|it| it.is_alphabetic()).count()
}

/// Returns the fixed parts of a literal, outside of its braces.
fn fixed(literal: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut within = false;
    for character in literal.chars() {
        match character {
            '{' => within = true,
            '}' if within => {
                within = false;
                parts.push(String::new());
            }
            character if !within => {
                if let Some(part) = parts.last_mut() {
                    part.push(character);
                }
            }
            _ => {}
        }
    }
    parts
}

/// Returns whether a line's text is this message, followed by nothing or by fields.
fn is_message(text: &str, message: &str) -> bool {
    let rest = text.strip_prefix(message);
    rest.is_some_and(|rest| {
        let mut key = rest.trim_start().split('=');
        let name = key.next().unwrap_or("");
        let is_field = key.next().is_some() && name.chars().all(is_of_a_name);
        rest.is_empty() || (rest.starts_with(' ') && is_field)
    })
}

/// Returns whether an event's macro has a field of this name: `name = …`, `name`, `%name` or `?name`.
fn has_field(event: &str, name: &str) -> bool {
    event.split(',').map(str::trim).any(|argument| {
        let given = argument.split(" =").next().unwrap_or("");
        given.trim_start_matches(['%', '?']) == name
    })
}

fn is_of_a_name(character: char) -> bool {
    character.is_ascii_lowercase() || character == '_'
}

/// Returns the names of the fields in a line's text. What follows `error=` and `what=` is the text of another.
fn fields(text: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    for word in text.split(' ') {
        if let Some((name, _)) = word.split_once('=')
            && name.chars().all(is_of_a_name)
            && !name.is_empty()
        {
            fields.push(name);
            if ["error", "what"].contains(&name) {
                break;
            }
        }
    }
    fields
}

/// Returns the text of an event's macro, to the end of its statement.
fn until_end(text: &str) -> &str {
    let mut depth = 1_u32;
    let mut quoted = false;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '"' if before != '\\' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
        before = character;
    }
    text
}

/// Returns the string literals of a source, without the line breaks that the compiler takes out.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // A comment may have quotes of its own.
            '/' if characters.peek() == Some(&'/') => {
                characters.by_ref().find(|it| *it == '\n');
            }
            // The character '"'.
            '\'' if characters.peek() == Some(&'"') => {
                characters.nth(1);
            }
            '"' => found.push(literal(&mut characters)),
            _ => {}
        }
    }
    found
}

fn literal(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut literal = String::new();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                Some('\n') => while characters.next_if(|it| it.is_whitespace()).is_some() {},
                Some('n') => literal.push('\n'),
                Some(other) => literal.push(other),
                None => break,
            },
            character => literal.push(character),
        }
    }
    literal
}

fn read_into(folder: &Path, name: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let inside = format!("{name}/{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            read_into(&path, &inside, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((inside, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn lines_that_no_source_makes_are_refused() {
    let sources = Sources::read();
    let at = "2026-11-26T20:34:56.535581Z ";
    sources
        .logged(&format!("{at} INFO tercet_server::serve: draining"))
        .unwrap();
    for line in [
        " WARN tercet_server::serve: draining",
        " INFO tercet_server::serve: draining now",
        " INFO tercet_server::observe: draining",
        " INFO tercet_server::elsewhere: draining",
        " WARN tercet_server::serve: the database's clock jumped ahead; it is followed if the next reading agrees by=9",
        " WARN tercet_server::serve: the lease was not renewed; the next try follows error=disk I/O error",
    ] {
        sources.logged(&format!("{at}{line}")).unwrap_err();
    }
    let error =
        "error: the database cannot be closed: closing the database: it was not closed within 10 s";
    sources.error(error).unwrap();
    for (right, wrong) in [
        ("cannot be closed", "can not be closed"),
        ("it was not closed", "it was never closed"),
        (" within 10 s", " within 10 s, alas"),
    ] {
        sources.error(&error.replacen(right, wrong, 1)).unwrap_err();
    }
}
