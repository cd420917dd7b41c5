//! The elements of a request, counted as its bytes come and before it is decoded: an element of a repeated field or an
//! entry of a map can take two bytes on the wire, and takes hundreds in memory.
//!
//! The count follows the description of `tercet.v1` that is compiled into the program, so a field that is added is
//! counted too. It reads keys and lengths alone, and skips every content. It refuses what decoding would refuse
//! otherwise only after it has made the elements.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use tercet_core::violation::Violation;
use tercet_proto::v1;

use crate::{bounds, error::RequestError};

/// Bytes of a number of variable length.
const VARINT_BYTES: u32 = 10;

/// The messages of `tercet.v1`.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    // It was compiled with the program; a test finds every method in it.
    let files = FileDescriptorSet::decode(v1::FILE_DESCRIPTOR_SET).unwrap_or_default();
    Schema::new(&files)
});

/// The fields of every message, and the message of every method.
#[derive(Default)]
struct Schema {
    messages: Vec<Fields>,
    /// The place of the request's message, by the path of the method.
    requests: HashMap<String, usize>,
}

/// The fields of one message.
#[derive(Default)]
struct Fields {
    name: String,
    /// By number.
    fields: Vec<Option<Field>>,
}

struct Field {
    name: String,
    repeated: bool,
    content: Content,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The message at this place.
    Message(usize),
    /// A text or bytes.
    Bytes,
    /// A number, a truth value or an enum; several of them can be packed into one field.
    Number,
}

impl Schema {
    fn new(files: &FileDescriptorSet) -> Self {
        let mut messages = Vec::new();
        for file in &files.file {
            let package = format!(".{}", file.package());
            for message in &file.message_type {
                with_nested(&package, message, &mut messages);
            }
        }
        let places = messages.iter().enumerate();
        let places: HashMap<_, _> = places.map(|(place, (name, _))| (&**name, place)).collect();
        let methods = files.file.iter().flat_map(|file| {
            let services = file.service.iter();
            services
                .flat_map(move |service| service.method.iter().map(move |it| (file, service, it)))
        });
        let requests = methods.filter_map(|(file, service, method)| {
            let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
            Some((path, *places.get(method.input_type())?))
        });
        Self {
            requests: requests.collect(),
            messages: (messages.iter())
                .map(|(_, message)| Fields::new(message, &places))
                .collect(),
        }
    }

    fn field(&self, message: usize, number: u32) -> Option<&Field> {
        let fields = &self.messages.get(message)?.fields;
        fields.get(usize::try_from(number).ok()?)?.as_ref()
    }
}

/// Lists a message and those that are defined inside it, as the entries of maps are, with their full names.
fn with_nested<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    all: &mut Vec<(String, &'a DescriptorProto)>,
) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        with_nested(&name, nested, all);
    }
    all.push((name, message));
}

impl Fields {
    fn new(message: &DescriptorProto, places: &HashMap<&str, usize>) -> Self {
        let mut fields = Vec::new();
        for field in &message.field {
            let number = usize::try_from(field.number()).unwrap_or_default();
            if fields.len() <= number {
                fields.resize_with(number + 1, || None);
            }
            fields[number] = Some(Field {
                name: field.name().to_owned(),
                repeated: field.label() == Label::Repeated,
                content: Content::of(field, places),
            });
        }
        Self {
            name: message.name().to_owned(),
            fields,
        }
    }
}

impl Content {
    fn of(field: &FieldDescriptorProto, places: &HashMap<&str, usize>) -> Self {
        match (places.get(field.type_name()), field.r#type()) {
            (Some(place), Type::Message) => Self::Message(*place),
            (_, Type::String | Type::Bytes) => Self::Bytes,
            _ => Self::Number,
        }
    }
}

/// The reason why a message is not decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has more elements than are accepted, the last of them in the field with this path.
    TooMany(String),
    /// It is no message: the name of the one that cannot be read, and why.
    Malformed(String, &'static str),
}

impl From<Unfit> for RequestError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::TooMany(path) => {
                let accepted = bounds::MESSAGE_ELEMENTS;
                let what = format!(
                    "makes the elements of all repeated fields of the message more than {accepted}, the most that are \
                     accepted"
                );
                Violation::new(&path, what).into()
            }
            Unfit::Malformed(message, what) => Self::Malformed(format!("{message}: {what}")),
        }
    }
}

/// The count of one message, as far as its bytes have come.
#[derive(Debug)]
pub(super) struct Elements {
    /// The place of the message.
    root: usize,
    /// The messages that have begun and not ended, the innermost last.
    open: Vec<Open>,
    expects: Expects,
    /// A number of variable length, as far as it has come, and its bytes.
    number: (u64, u32),
    count: usize,
}

/// A message that has begun.
#[derive(Debug)]
struct Open {
    message: usize,
    /// The number of the field that holds it; 0: it is the whole.
    within: u32,
    /// Bytes that have not come, without those that belong to what it holds and has begun.
    left: usize,
    /// Groups that have begun in it. No field of ours is one: their content is skipped in decoding.
    groups: u32,
}

/// The next part of a message.
#[derive(Clone, Copy, Debug)]
enum Expects {
    Key,
    /// The content of a field, which is a number.
    Number,
    /// The length of the field with this number.
    Length(u32),
    /// So many bytes of content.
    Skipped(usize),
    /// So many bytes of numbers, packed, of the field with this number.
    Packed(usize, u32),
}

impl Elements {
    /// Makes the count for requests of this method; `None` where there is no such method.
    pub(super) fn of_method(path: &str) -> Option<Self> {
        Some(Self {
            root: *SCHEMA.requests.get(path)?,
            open: Vec::new(),
            expects: Expects::Key,
            number: (0, 0),
            count: 0,
        })
    }

    /// Begins with the next message, of so many bytes.
    pub(super) fn begin(&mut self, length: usize) {
        self.open.clear();
        self.open.push(Open {
            message: self.root,
            within: 0,
            left: length,
            groups: 0,
        });
        self.expects = Expects::Key;
        self.number = (0, 0);
        self.count = 0;
    }

    /// Returns the elements that have come of the message.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Goes on with the next bytes of the message.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) -> Result<(), Unfit> {
        while let Some((first, rest)) = bytes.split_first() {
            bytes = match self.expects {
                Expects::Skipped(left) => {
                    let now = left.min(bytes.len());
                    self.expects = Expects::Skipped(left - now);
                    &bytes[now..]
                }
                Expects::Packed(left, field) => {
                    let (now, rest) = bytes.split_at(left.min(bytes.len()));
                    // Each number has one byte without the top bit: its last.
                    let numbers = now.iter().filter(|byte| **byte < 0x80).count();
                    self.counted(numbers, field)?;
                    self.expects = Expects::Packed(left - now.len(), field);
                    rest
                }
                Expects::Key | Expects::Number | Expects::Length(_) => {
                    self.number_byte(*first)?;
                    rest
                }
            };
            if let Expects::Skipped(0) | Expects::Packed(0, _) = self.expects {
                self.expects = Expects::Key;
            }
            self.close()?;
        }
        Ok(())
    }

    /// Goes on with one byte of a number of variable length.
    fn number_byte(&mut self, byte: u8) -> Result<(), Unfit> {
        let Some(open) = self.open.last_mut() else {
            return Err(self.malformed("it has more bytes than its length"));
        };
        open.left -= 1;
        let (number, bytes) = &mut self.number;
        *number |= u64::from(byte & 0x7f) << (7 * *bytes);
        *bytes += 1;
        if byte >= 0x80 {
            if *bytes == VARINT_BYTES {
                return Err(self.malformed("a number is too long"));
            }
            return Ok(());
        }
        let (number, _) = std::mem::take(&mut self.number);
        match self.expects {
            Expects::Key => self.key(number),
            Expects::Length(field) => self.length(field, number),
            _ => {
                self.expects = Expects::Key;
                Ok(())
            }
        }
    }

    /// Begins a field.
    fn key(&mut self, key: u64) -> Result<(), Unfit> {
        let (Ok(number), wire_type) = (u32::try_from(key >> 3), key & 7) else {
            return Err(self.malformed("the number of a field is too large"));
        };
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        self.expects = match wire_type {
            0 => Expects::Number,
            1 => Expects::Skipped(8),
            2 => Expects::Length(number),
            5 => Expects::Skipped(4),
            3 => {
                open.groups += 1;
                Expects::Key
            }
            4 if open.groups > 0 => {
                open.groups -= 1;
                Expects::Key
            }
            _ => return Err(self.malformed("a field has no type that exists")),
        };
        if let Expects::Skipped(bytes) = self.expects {
            return self.take(bytes);
        }
        if wire_type == 0
            && let Some((field, Content::Number)) = self.repeated(number)
        {
            self.counted(1, field)?;
        }
        Ok(())
    }

    /// Begins the content of a field that has a length.
    fn length(&mut self, number: u32, length: u64) -> Result<(), Unfit> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.take(length)?;
        let repeated = self.repeated(number);
        if let Some((_, Content::Number)) = repeated {
            self.expects = Expects::Packed(length, number);
            return Ok(());
        }
        if repeated.is_some() {
            self.counted(1, number)?;
        }
        let content = self.field(number).map(|field| field.content);
        if let Some(Content::Message(message)) = content {
            self.open.push(Open {
                message,
                within: number,
                left: length,
                groups: 0,
            });
            self.expects = Expects::Key;
        } else {
            self.expects = Expects::Skipped(length);
        }
        Ok(())
    }

    /// Takes the bytes of a content out of the innermost message.
    fn take(&mut self, bytes: usize) -> Result<(), Unfit> {
        if let Some(open) = self.open.last_mut()
            && let Some(left) = open.left.checked_sub(bytes)
        {
            open.left = left;
            return Ok(());
        }
        Err(self.malformed("a field is longer than the message"))
    }

    /// Ends the messages of which every byte has come.
    fn close(&mut self) -> Result<(), Unfit> {
        while let Some(open) = self.open.last()
            && open.left == 0
        {
            match self.expects {
                Expects::Key if self.number.1 == 0 && open.groups == 0 => {}
                Expects::Skipped(_) | Expects::Packed(..) => return Ok(()),
                _ => return Err(self.malformed("it is cut off")),
            }
            self.open.pop();
        }
        Ok(())
    }

    /// Returns the field of the innermost message with this number; `None` in a group.
    fn field(&self, number: u32) -> Option<&'static Field> {
        let open = self.open.last()?;
        if open.groups > 0 {
            return None;
        }
        SCHEMA.field(open.message, number)
    }

    /// Returns the number and the content of a field that is repeated.
    fn repeated(&self, number: u32) -> Option<(u32, Content)> {
        let field = self.field(number)?;
        field.repeated.then_some((number, field.content))
    }

    /// Counts elements of a field.
    fn counted(&mut self, elements: usize, field: u32) -> Result<(), Unfit> {
        self.count += elements;
        if self.count > bounds::MESSAGE_ELEMENTS {
            return Err(Unfit::TooMany(self.path(field)));
        }
        Ok(())
    }

    /// Returns the path of a field of the innermost message.
    fn path(&self, field: u32) -> String {
        let messages = self.open.iter().map(|open| open.message);
        let numbers = self.open.iter().skip(1).map(|open| open.within);
        let names = messages.zip(numbers.chain([field]));
        let names = names.filter_map(|(message, number)| SCHEMA.field(message, number));
        let names: Vec<_> = names.map(|field| &*field.name).collect();
        names.join(".")
    }

    fn malformed(&self, what: &'static str) -> Unfit {
        let message = self.open.last().map_or(self.root, |open| open.message);
        let name = SCHEMA.messages.get(message).map(|it| it.name.clone());
        Unfit::Malformed(name.unwrap_or_default(), what)
    }
}

#[cfg(test)]
mod tests;
