//! One line of `dump --json`, or one written by hand.

use std::fmt::Display;

use serde::Deserialize;
use waltool::Shown;
use waltool::format::{Role, Seen, TargetState};
use waltool::formats::native::layout::{Lsn, PAYLOAD_MAX};
use waltool::formats::native::payload::{CONT, Checkpoint, Commit, MORE, RecordKind, Seal, SetLen, Write};
use waltool::load::{CommitLine, HeaderLine, Line, RecordLine, SealLine};
use waltool::vfs::FileTimes;

use crate::cli::time;

/// Why a line gives no record.
pub enum Wrong {
    /// It is no line of a native log.
    Line(String),
    /// It is one of damage, or stands behind damage.
    Damage(String),
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::Line(why)
    }
}

/// What is read of a line; the rest follows from it.
#[derive(Deserialize)]
struct Fields {
    span: Option<String>,
    kind: Option<String>,
    lsn: Option<String>,
    transaction: Option<u64>,
    commit: Option<bool>,
    beyond_damage: Option<bool>,
    fault: Option<String>,
    payload: Option<String>,
    hex: Option<String>,
    text: Option<String>,
    bytes: Option<u64>,
    target_offset: Option<u64>,
    target_len: Option<u64>,
    target_crc: Option<String>,
    state: Option<String>,
    inode: Option<u64>,
    modified: Option<String>,
    changed: Option<String>,
    continues: Option<bool>,
    more: Option<bool>,
    redo_lsn: Option<String>,
    time: Option<String>,
    durable_off: Option<u32>,
    close: Option<bool>,
    next_segment: Option<u32>,
    number: Option<u32>,
    log_id: Option<String>,
    target_id: Option<String>,
    prev_nonce: Option<String>,
    prev_end: Option<u32>,
    first_transaction: Option<u64>,
    created: Option<String>,
}

/// Reads a line, and where its record stood. `payload` is room for its bytes. `None`: fill, or other bytes that are not
/// loaded.
pub fn parse<'p>(line: &[u8], payload: &'p mut Vec<u8>) -> Result<Option<(Line<'p>, Option<Lsn>)>, Wrong> {
    let fields: Fields = serde_json::from_slice(line).map_err(|error| no_json(&error))?;
    match fields.span.as_deref() {
        Some("record") => {}
        None if fields.kind.is_some() => {}
        Some("header") => return Ok(Some((Line::Header(fields.header()?), None))),
        Some("padding" | "stale" | "unwritten") => return Ok(None),
        Some(span @ ("damage" | "torn" | "gap")) => {
            let fault = Shown(fields.fault.as_deref().unwrap_or("no details").as_bytes()).to_string();
            return Err(Wrong::Damage(format!("the dump shows damage here ({span}: {fault})")));
        }
        Some(span) => return Err(format!("span \"{span}\" is unknown").into()),
        None => return Err("it has neither a span nor a kind".to_string().into()),
    }
    if fields.beyond_damage == Some(true) {
        return Err(Wrong::Damage("the record stands behind damage (beyond_damage)".into()));
    }
    let kind = fields.kind()?;
    let stood = fields.lsn.as_deref().map(|text| lsn("lsn", text)).transpose()?;
    let line = match kind {
        RecordKind::Commit => Line::Commit(fields.commit(payload)?),
        RecordKind::Seal => Line::Seal(fields.seal(payload)?),
        _ => {
            let flags = fields.record(kind, payload)?;
            Line::Record(RecordLine { kind, flags, payload, transaction: fields.transaction })
        }
    };
    Ok(Some((line, stood)))
}

impl Fields {
    fn kind(&self) -> Result<RecordKind, String> {
        let all = [
            RecordKind::Write,
            RecordKind::SetLen,
            RecordKind::Data,
            RecordKind::Checkpoint,
            RecordKind::Commit,
            RecordKind::Seal,
        ];
        let name = self.kind.as_deref().ok_or("a record without its kind")?;
        let Some(kind) = all.into_iter().find(|kind| kind.name() == name) else {
            let known = all.map(RecordKind::name).join(", ");
            return Err(match name {
                "frame" => "a frame of SQLite's log; only logs of the native format can be loaded".into(),
                _ => format!("kind \"{name}\" is unknown; there are: {known}"),
            });
        };
        if let Some(commit) = self.commit.filter(|&commit| commit != (kind == RecordKind::Commit)) {
            return Err(format!("commit is {commit}, and the kind is {name}"));
        }
        Ok(kind)
    }

    fn header(&self) -> Result<HeaderLine, String> {
        let Some(number) = self.number else {
            return Err("a header without a number is not of a native log; only those can be loaded".into());
        };
        let id = |key: &str, text: &Option<String>| text.as_deref().map(|text| id(key, text)).transpose();
        let nonce = |text: &str| u32::from_str_radix(text, 16).map_err(|error| format!("prev_nonce: {error}"));
        Ok(HeaderLine {
            number,
            log_id: id("log_id", &self.log_id)?,
            target_id: id("target_id", &self.target_id)?,
            prev_nonce: self.prev_nonce.as_deref().map(nonce).transpose()?,
            prev_end: self.prev_end,
            first_transaction: self.first_transaction,
            redo_lsn: self.redo_lsn.as_deref().map(|text| lsn("redo_lsn", text)).transpose()?,
            created_ns: self.created.as_deref().map(|text| instant("created", text)).transpose()?,
        })
    }

    /// Puts the payload into `out` and gives the flags.
    fn record(&self, kind: RecordKind, out: &mut Vec<u8>) -> Result<u8, String> {
        out.clear();
        if !self.whole(out)? {
            self.made(kind, out)?;
        }
        match kind {
            RecordKind::Write => {
                if let Some(write) = Write::parse(out) {
                    agree("target_offset", self.target_offset, write.offset)?;
                    agree("bytes", self.bytes, write.bytes.len() as u64)?;
                }
            }
            RecordKind::SetLen => {
                if let Some(set_len) = SetLen::parse(out) {
                    agree("target_len", self.target_len, set_len.len)?;
                }
            }
            RecordKind::Checkpoint => {
                if let Some(checkpoint) = Checkpoint::parse(out) {
                    let redo_lsn = self.redo_lsn.as_deref().map(|text| lsn("redo_lsn", text)).transpose()?;
                    agree("redo_lsn", redo_lsn, checkpoint.redo_lsn)?;
                    agree("target_len", self.target_len, checkpoint.target_len)?;
                    if self.state()?.is_some_and(|state| Some(state) != checkpoint.state) {
                        return Err("target_crc, state, inode, modified and changed are not those of the payload; \
                                    leave one of the two out"
                            .into());
                    }
                }
            }
            _ => agree("bytes", self.bytes, out.len() as u64)?,
        }
        let flag = |field: Option<bool>, flag: u8| if field == Some(true) { flag } else { 0 };
        let flags = match kind {
            RecordKind::Checkpoint => Checkpoint::parse(out).map_or(0, |checkpoint| checkpoint.flags()),
            _ => 0,
        };
        Ok(flags | flag(self.continues, CONT) | flag(self.more, MORE))
    }

    /// What a checkpoint says of the target's content.
    fn state(&self) -> Result<Option<TargetState>, String> {
        let seen = match (self.inode, &self.modified, &self.changed) {
            (None, None, None) => None,
            (Some(inode), Some(modified), Some(changed)) => {
                let (modified_ns, changed_ns) = (instant("modified", modified)?, instant("changed", changed)?);
                Some(Seen { inode, times: FileTimes { modified_ns, changed_ns } })
            }
            _ => return Err("inode, modified and changed belong together".into()),
        };
        let role = match (self.state.as_deref(), seen) {
            (None, None) if self.target_crc.is_none() => return Ok(None),
            (None, _) => return Err("what is said of the target needs its state: fact or intent".into()),
            (Some("fact"), seen) => Role::Fact(seen),
            (Some("intent"), None) => Role::Intent,
            (Some("intent"), Some(_)) => return Err("an intent has no inode".into()),
            (Some(other), _) => return Err(format!("state \"{other}\" is unknown; there are: fact, intent")),
        };
        let crc = self.target_crc.as_deref().ok_or("a state needs target_crc")?;
        let crc = u32::from_str_radix(crc, 16).map_err(|error| format!("target_crc: {error}"))?;
        Ok(Some(TargetState { crc, role }))
    }

    /// Puts the payload into `out` where the line has all of it.
    fn whole(&self, out: &mut Vec<u8>) -> Result<bool, String> {
        let Some(text) = &self.payload else { return Ok(false) };
        if self.hex.is_some() || self.text.is_some() {
            return Err("a payload is the whole record; hex or text beside it says the same twice".into());
        }
        unhex("payload", text, out)?;
        Ok(true)
    }

    /// Makes the payload of the fields.
    fn made(&self, kind: RecordKind, out: &mut Vec<u8>) -> Result<(), String> {
        let need = |key: &str| format!("a {} needs its payload, or {key}", kind.name());
        match kind {
            RecordKind::Write => {
                let offset = self.target_offset.ok_or_else(|| need("target_offset and hex or text"))?;
                out.extend_from_slice(&offset.to_le_bytes());
                self.content(out)?.ok_or_else(|| need("target_offset and hex or text"))
            }
            RecordKind::SetLen => {
                let len = self.target_len.ok_or_else(|| need("target_len"))?;
                out.extend_from_slice(&SetLen { len }.encode());
                Ok(())
            }
            RecordKind::Checkpoint => {
                let both = self.redo_lsn.as_deref().zip(self.target_len);
                let (redo_lsn, target_len) = both.ok_or_else(|| need("redo_lsn and target_len"))?;
                let (redo_lsn, state) = (lsn("redo_lsn", redo_lsn)?, self.state()?);
                out.extend_from_slice(&Checkpoint { redo_lsn, target_len, state }.encode());
                Ok(())
            }
            _ => self.content(out)?.ok_or_else(|| need("hex or text")),
        }
    }

    fn content(&self, out: &mut Vec<u8>) -> Result<Option<()>, String> {
        match (&self.hex, &self.text) {
            (Some(_), Some(_)) => Err("hex and text say the same twice".into()),
            (Some(hex), None) => unhex("hex", hex, out).map(Some),
            (None, Some(text)) => {
                out.extend_from_slice(text.as_bytes());
                Ok(Some(()))
            }
            (None, None) => Ok(None),
        }
    }

    fn commit(&self, payload: &mut Vec<u8>) -> Result<CommitLine, String> {
        payload.clear();
        let time_ns = self.time.as_deref().map(|text| instant("time", text)).transpose()?;
        let close = self.close == Some(true);
        let (transaction, durable_off) = (self.transaction, self.durable_off);
        if !self.whole(payload)? {
            return Ok(CommitLine { transaction, time_ns, durable_off, close });
        }
        let commit = Commit::parse(payload).ok_or_else(|| wrong_len("commit", Commit::LEN, payload))?;
        agree("transaction", transaction, commit.transaction)?;
        agree("durable_off", durable_off, commit.durable_off)?;
        if time_ns.is_some_and(|time_ns| time_ns != commit.time_ns) {
            return Err("time is not that of the payload; leave one of the two out".into());
        }
        Ok(CommitLine {
            transaction: Some(commit.transaction),
            time_ns: Some(commit.time_ns),
            durable_off: Some(commit.durable_off),
            close,
        })
    }

    fn seal(&self, payload: &mut Vec<u8>) -> Result<SealLine, String> {
        payload.clear();
        if !self.whole(payload)? {
            return Ok(SealLine { next_number: self.next_segment });
        }
        let seal = Seal::parse(payload).ok_or_else(|| wrong_len("seal", Seal::LEN, payload))?;
        agree("next_segment", self.next_segment, seal.next_number)?;
        Ok(SealLine { next_number: Some(seal.next_number) })
    }
}

fn agree<T: PartialEq + Display>(key: &str, field: Option<T>, payload: T) -> Result<(), String> {
    match field {
        Some(field) if field != payload => {
            Err(format!("{key} is {field}, and by the payload it is {payload}; leave one of the two out"))
        }
        _ => Ok(()),
    }
}

fn wrong_len(kind: &str, expected: usize, payload: &[u8]) -> String {
    format!("a {kind} has a payload of {expected} bytes, not of {}", payload.len())
}

fn unhex(key: &str, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    if text.len() > 2 * PAYLOAD_MAX {
        return Err(format!("{key}: a record holds at most {PAYLOAD_MAX} bytes"));
    }
    let start = out.len();
    out.resize(start + text.len() / 2, 0);
    hex::decode_to_slice(text, &mut out[start..]).map_err(|error| format!("{key}: {error}"))
}

fn id(key: &str, text: &str) -> Result<[u8; 16], String> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).map_err(|_| format!("{key}: expected 32 hexadecimal digits"))?;
    Ok(id)
}

fn lsn(key: &str, text: &str) -> Result<Lsn, String> {
    text.parse().map_err(|error| format!("{key}: {error}"))
}

fn instant(key: &str, text: &str) -> Result<u64, String> {
    time::parse(text).map_err(|error| format!("{key}: {error}"))
}

/// The parser counts lines too, and has seen only one.
fn no_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match error.is_data() {
        true => format!("{what}, at column {}", error.column()),
        false => format!("not JSON: {what}, at column {}", error.column()),
    }
}
