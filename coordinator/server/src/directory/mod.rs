//! The participants that are known, and the way to each: `participant_info` in memory.

mod participant;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tercet_core::{
    check::{Listed, Served},
    id::StreamId,
    model::Name,
    port::Outage,
};
use tercet_store::{ParticipantRow, UnreadableParticipant};
use tokio::sync::watch;

pub use self::participant::{Methods, Participant, Protocol, Said};

/// A participant with the work that it serves.
#[derive(Clone, Debug)]
struct Entry {
    participant: Participant,
    served: Served,
}

impl From<Participant> for Entry {
    fn from(participant: Participant) -> Self {
        Self {
            served: participant.served(),
            participant,
        }
    }
}

/// The participants that are known, by name: a snapshot of the [`Directory`].
#[derive(Clone, Debug, Default)]
pub struct Known {
    readable: HashMap<Name, Entry>,
    /// Those whose row cannot be read, with the reason.
    unreadable: BTreeMap<Name, String>,
    /// The fault of a row whose name cannot be read.
    nameless: Option<String>,
}

impl Known {
    /// Returns the participant of this name, if its row can be read.
    pub fn get(&self, name: &str) -> Option<&Participant> {
        let entry = self.readable.get(name)?;
        Some(&entry.participant)
    }

    /// Returns the reason why the row of this name cannot be read; `None`: it can, or there is none.
    pub fn unreadable(&self, name: &str) -> Option<&str> {
        self.unreadable.get(name).map(String::as_str)
    }

    /// Returns whether there is a row of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.readable.contains_key(name) || self.unreadable.contains_key(name)
    }

    /// Returns the number of rows that have a name.
    pub fn number(&self) -> usize {
        self.readable.len() + self.unreadable.len()
    }

    /// Returns whether every row can be read.
    pub fn is_whole(&self) -> bool {
        self.unreadable.is_empty() && self.nameless.is_none()
    }

    /// Returns every participant whose row can be read, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Participant> {
        self.readable.values().map(|entry| &entry.participant)
    }

    /// Returns the names after this one, in their order.
    pub fn names_after(&self, name: &str) -> Vec<&Name> {
        let names = self.readable.keys().chain(self.unreadable.keys());
        let mut names: Vec<&Name> = names.filter(|other| &***other > name).collect();
        names.sort_unstable();
        names
    }

    fn put(&mut self, participant: Participant) {
        let name = Name::clone(&participant.name);
        self.unreadable.remove(&name);
        self.readable.insert(name, participant.into());
    }
}

impl tercet_core::check::Directory for Known {
    fn listed(&self, name: &str) -> Listed<'_> {
        match (self.readable.get(name), self.unreadable.get(name)) {
            (Some(entry), _) => Listed::Serves(&entry.served),
            (None, Some(what)) => Listed::Unreadable(what),
            (None, None) => Listed::Unknown,
        }
    }
}

/// The news in rows of the database.
#[derive(Debug, Default)]
pub struct News {
    /// Participants that were not known, or whose row could not be read.
    pub participants: Vec<Participant>,
    /// Rows that cannot be read, where that is new.
    pub unreadable: Vec<UnreadableParticipant>,
}

/// The participants that are known, and the streams that each has here. Cheap to share and to read: a batch of requests
/// takes one snapshot.
#[derive(Debug, Default)]
pub struct Directory {
    inner: Mutex<Inner>,
    /// The number of changes.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    known: Arc<Known>,
    /// The abilities of each stream that is attached, by participant.
    attached: HashMap<Name, HashMap<StreamId, Arc<Said>>>,
    /// Registered addresses that take no call, by their participants.
    down: HashMap<Name, Outage>,
}

impl Directory {
    fn locked(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing that panics runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the participants that are known now.
    pub fn snapshot(&self) -> Arc<Known> {
        Arc::clone(&self.locked().known)
    }

    /// Adds a participant, or replaces the one of the same name.
    pub fn put(&self, participant: Participant) {
        let mut inner = self.locked();
        Arc::make_mut(&mut inner.known).put(participant);
        drop(inner);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Takes up the rows of the database. A participant that is known stays as it is: its row is as the last registration
    /// left it.
    pub fn take_up(&self, rows: Vec<Result<ParticipantRow, UnreadableParticipant>>) -> News {
        let mut inner = self.locked();
        let known = Arc::make_mut(&mut inner.known);
        let before = std::mem::take(&mut known.unreadable);
        let nameless_before = known.nameless.take();
        let mut news = News::default();
        for row in rows {
            match row.and_then(Participant::from_row) {
                Ok(participant) if known.get(&participant.name).is_none() => {
                    known.put(participant.clone());
                    news.participants.push(participant);
                }
                Ok(_) => {}
                Err(bad) => {
                    let was = match &bad.participant {
                        // One that was readable when this process last saw it goes on as it was.
                        Some(name) if known.get(name).is_some() => continue,
                        Some(name) => {
                            known.unreadable.insert(Name::clone(name), bad.what.clone());
                            before.get(name)
                        }
                        None => {
                            known.nameless = Some(bad.what.clone());
                            nameless_before.as_ref()
                        }
                    };
                    if was != Some(&bad.what) {
                        news.unreadable.push(bad);
                    }
                }
            }
        }
        drop(inner);
        self.changes.send_modify(|changes| *changes += 1);
        news
    }

    /// Returns a receiver that is notified of every change, and once at first.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.subscribe();
        changes.mark_changed();
        changes
    }

    /// Adds a stream that was attached, with its abilities.
    pub fn attach(&self, name: &Name, stream: StreamId, said: Arc<Said>) {
        let mut inner = self.locked();
        let streams = inner.attached.entry(Name::clone(name)).or_default();
        streams.insert(stream, said);
    }

    /// Removes a stream that has ended.
    pub fn detach(&self, name: &Name, stream: StreamId) {
        let mut inner = self.locked();
        if let Some(streams) = inner.attached.get_mut(name) {
            streams.remove(&stream);
            if streams.is_empty() {
                inner.attached.remove(name);
            }
        }
    }

    /// Notes that a participant's address is down, or no longer.
    pub fn note_outage(&self, name: &Name, outage: Option<Outage>) {
        let down = &mut self.locked().down;
        match outage {
            Some(outage) => down.insert(Arc::clone(name), outage),
            None => down.remove(name),
        };
    }

    /// Returns the outage of a participant's address, if it is down.
    pub fn outage(&self, name: &str) -> Option<Outage> {
        self.locked().down.get(name).cloned()
    }

    /// Returns the number of streams that a participant has attached here.
    pub fn attached(&self, name: &str) -> u32 {
        let streams = self.locked().attached.get(name).map_or(0, HashMap::len);
        u32::try_from(streams).unwrap_or(u32::MAX)
    }

    /// Returns the abilities of the streams that a participant has attached here; `None`: it has none.
    pub fn attached_said(&self, name: &str) -> Option<Said> {
        let inner = self.locked();
        let streams = inner.attached.get(name)?;
        let mut all = Said::default();
        for said in streams.values() {
            all.join(said);
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use tercet_core::{
        check::Served,
        model::{Mode, Name},
        port::Abilities,
    };
    use tercet_store::{ParticipantRow, UnreadableParticipant};

    use super::{Directory, Participant, Said};
    use crate::bounds;

    fn said(handlers: &[(&str, Option<Mode>)]) -> Said {
        let handlers = handlers
            .iter()
            .map(|(name, mode)| (Name::from(*name), *mode));
        Said::from(&Abilities {
            handlers: handlers.collect(),
            check_backs: false,
        })
    }

    fn of(words: &[Option<Mode>]) -> Said {
        let handlers: Vec<_> = words.iter().map(|mode| ("freeze", *mode)).collect();
        said(&handlers)
    }

    #[test]
    fn what_instances_have_is_joined() {
        let (tcc, compensate) = (Some(Mode::Tcc), Some(Mode::Compensate));
        let mut all = of(&[tcc]);
        assert!(all.covers(&of(&[tcc])) && all.covers(&of(&[])));
        assert!(!all.covers(&of(&[compensate])) && !all.covers(&of(&[None])));
        assert!(!all.covers(&said(&[("reserve", tcc)])));
        all.join(&of(&[compensate]));
        assert!(all.covers(&of(&[tcc, compensate])) && !all.covers(&of(&[None])));
        all.join(&of(&[None]));
        assert!(all.covers(&of(&[None])) && all.covers(&of(&[Some(Mode::Deliver)])));
        // A handler for every mode has every mode, whichever came first.
        let mut any_first = of(&[None]);
        any_first.join(&of(&[tcc]));
        assert_eq!(any_first, all);

        let asked = Said {
            check_backs: true,
            ..Said::default()
        };
        assert!(!all.covers(&asked));
        all.join(&asked);
        assert!(all.covers(&asked));
    }

    /// Beyond the bound nothing is known not to be there.
    #[test]
    fn what_is_kept_of_handlers_is_bounded() {
        let names: Vec<String> = (0..=bounds::HANDLERS_KEPT)
            .map(|n| format!("h{n}"))
            .collect();
        let mut participant = Participant::attaching("p".into());
        assert_eq!(participant.served(), Served::Any);
        for name in &names[..bounds::HANDLERS_KEPT] {
            participant.hear(&said(&[(name, None)]));
        }
        assert!(matches!(participant.served(), Served::Only { .. }));
        let last = said(&[(&names[bounds::HANDLERS_KEPT], None)]);
        assert!(!participant.has_heard(&last));
        participant.hear(&last);
        assert!(participant.has_heard(&last));
        assert_eq!(participant.served(), Served::Any);
        let kept = participant.said.as_ref().unwrap().handlers.len();
        assert_eq!(kept, bounds::HANDLERS_KEPT);
        let row = participant.to_row();
        assert_eq!(Participant::from_row(row).unwrap(), participant);
    }

    /// Instances of such a row attached before their handlers were kept.
    #[test]
    fn a_row_of_the_program_before_refuses_nothing_until_the_next_start() {
        let row = ParticipantRow {
            methods: r#"{"handlers":{},"check_back":""}"#.into(),
            ..Participant::attaching("p".into()).to_row()
        };
        let mut participant = Participant::from_row(row).unwrap();
        participant.hear(&of(&[None]));
        assert_eq!(participant.served(), Served::Any);
        let later = Participant::from_row(participant.to_row()).unwrap();
        assert!(matches!(later.served(), Served::Only { .. }));
    }

    #[test]
    fn rows_are_taken_up_once_they_can_be_read() {
        let row = |name: &str| Participant::attaching(name.into()).to_row();
        let bad = |name: Option<&str>, what: &str| {
            Err(UnreadableParticipant {
                participant: name.map(Name::from),
                what: what.into(),
            })
        };
        let directory = Directory::default();
        let news = directory.take_up(vec![
            Ok(row("a")),
            bad(Some("b"), "version is -1"),
            Ok(ParticipantRow {
                protocol: "PIGEON".into(),
                ..row("c")
            }),
            Ok(ParticipantRow {
                methods: "{".into(),
                ..row("d")
            }),
            bad(None, "participant cannot be read"),
        ]);
        let whats: BTreeSet<_> = news.unreadable.iter().map(|bad| &*bad.what).collect();
        assert_eq!(whats.len(), 4, "{whats:?}");
        assert!(
            whats.iter().any(|what| what.contains("PIGEON")),
            "{whats:?}"
        );
        assert!(
            whats.iter().any(|what| what.starts_with("methods cannot")),
            "{whats:?}"
        );
        let known = directory.snapshot();
        assert!(known.get("a").is_some() && known.get("b").is_none());
        assert!(
            ["b", "c", "d"]
                .iter()
                .all(|name| known.unreadable(name).is_some())
        );
        assert_eq!((known.number(), known.is_whole()), (4, false));
        assert_eq!(known.names_after("a").len(), 3);

        // "a" was seen, and stays; "c" is repaired, "d" is gone, "e" had the name that could not be read.
        let news = directory.take_up(vec![
            bad(Some("a"), "version is -2"),
            bad(Some("b"), "version is -1"),
            Ok(row("c")),
            Ok(row("e")),
        ]);
        let names: Vec<_> = news.participants.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["c", "e"]);
        assert_eq!(news.unreadable, []);
        let known = directory.snapshot();
        assert!(known.get("a").is_some() && !known.contains("d") && !known.is_whole());
        directory.put(Participant::attaching("b".into()));
        assert!(directory.snapshot().is_whole());
    }
}
