//! Plays a script on a log, and keeps the model in step.

use std::path::Path;

use waltool::formats::native::layout::Lsn;
use waltool::vfs::Sim;
use waltool::wal::{Durability, Entry, Options, Result, Wal, WalError};
use waltool::{Error, Log, Report, Verdict};

use crate::model::{Change, Given, Model, Shape, content};
use crate::scripts::{Config, Step};

pub const LOG: &str = "/data/log";

/// A program that uses a log: its disk, its calls, and what it may rely on.
pub struct Player {
    pub sim: Sim,
    pub model: Model,
    pub wal: Option<Wal>,
    options: Options,
}

impl Player {
    pub fn new(sim: Sim, model: Model, config: Config) -> Self {
        let options = config.options().disk(sim.disk());
        Self { sim, model, wal: None, options }
    }

    /// The disk that scripts begin with: the folder that the log will be in.
    pub fn fresh(seed: u64, config: Config) -> Self {
        Self::on(Sim::new(seed), config)
    }

    /// The same, on this empty disk.
    pub fn on(sim: Sim, config: Config) -> Self {
        sim.put(Path::new("/data/neighbour"), b"here").expect("a new disk");
        Self::new(sim, Model::default(), config)
    }

    /// Plays steps up to the first that fails. Gives how many succeeded, and that failure.
    pub fn play(&mut self, steps: &[Step]) -> (usize, Result<()>) {
        for (done, step) in steps.iter().enumerate() {
            if let Err(error) = self.step(*step) {
                return (done, Err(error));
            }
        }
        (steps.len(), Ok(()))
    }

    /// Plays steps, which succeed unless the power is cut on the way.
    pub fn play_until_off(&mut self, steps: &[Step]) {
        if let (done, Err(error)) = self.play(steps) {
            assert!(self.sim.is_off(), "step {done}, {:?}: {error}", steps[done]);
        }
        self.wal = None;
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().expect("scripts open the log before they use it")
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Open => return self.open(),
            Step::Commit(shape, durability) => return self.commit(shape, durability),
            Step::Sync => self.wal().sync()?,
            Step::Checkpoint(back) => {
                let Some((applied, len)) = self.model.checkpoints(back) else { return Ok(()) };
                self.wal().checkpoint(applied, len)?;
            }
            Step::Read => {
                let given = read(self.wal())?;
                self.model.has_all(&given).unwrap_or_else(|why| panic!("an open log gives {why}"));
                return Ok(());
            }
            Step::Close => {
                let wal = self.wal.take().expect("scripts open the log before they close it");
                wal.close()?;
            }
            Step::Drop => {
                self.wal = None;
                if !self.sim.is_off() && !self.sim.trace().iter().any(|call| call.failure.is_some()) {
                    self.model.all_written();
                }
                return Ok(());
            }
        }
        self.model.all_durable();
        Ok(())
    }

    fn commit(&mut self, shape: Shape, durability: Durability) -> Result<()> {
        let number = self.model.commits(shape);
        let mut transaction = self.wal().begin();
        for change in content(number, shape) {
            match change {
                Change::Data(bytes) => transaction.data(&bytes),
                Change::Write { offset, bytes } => transaction.write(offset, &bytes),
                Change::SetLen(len) => transaction.set_len(len),
                Change::Checkpoint { .. } => unreachable!("transactions have none"),
            };
        }
        let committed = transaction.commit_with(durability);
        if matches!(committed, Err(WalError::Stopped(_) | WalError::Transaction(_))) {
            self.model.refused();
        }
        self.model.returned(committed?);
        match durability {
            Durability::Durable => self.model.all_durable(),
            Durability::Written => self.model.all_written(),
            Durability::Buffered => {}
        }
        Ok(())
    }

    /// Opens the log, and holds what it gives against the model.
    fn open(&mut self) -> Result<()> {
        let wal = self.options.open(LOG)?;
        let given = read(&wal)?;
        let opened = self.model.opened(&given, wal.recovery().end);
        opened.unwrap_or_else(|why| panic!("a log that was opened gives {why}"));
        self.wal = Some(wal);
        Ok(())
    }

    /// A checkpoint was made or not, and removed old segments or not.
    pub fn settle_checkpoint(&mut self) {
        let given = read(self.wal()).expect("a log that goes on");
        if self.model.has_all(&given).is_err() {
            self.model.refused();
            self.model.has_all(&given).unwrap_or_else(|why| panic!("an open log gives {why}"));
        }
    }

    /// What the log gives, and where it ends; it was opened before.
    pub fn state(&self) -> Result<(Vec<Given>, Lsn, Lsn)> {
        let recovery = self.wal().recovery();
        Ok((read(self.wal())?, recovery.end, recovery.promised))
    }
}

/// Everything that a log gives, transaction by transaction; the parts of a write are joined.
fn read(wal: &Wal) -> Result<Vec<Given>> {
    let committed = wal.committed(wal.redo_lsn())?;
    let mut entries = committed.entries();
    let mut given: Vec<Given> = Vec::new();
    while let Some(logged) = entries.next()? {
        if given.last().is_none_or(|last| last.transaction != logged.transaction) {
            given.push(Given { transaction: logged.transaction, lsn: logged.lsn, changes: Vec::new() });
        }
        let changes = &mut given.last_mut().expect("one was just pushed").changes;
        match (logged.entry, changes.last_mut()) {
            (Entry::Write { offset, bytes }, Some(Change::Write { offset: start, bytes: before }))
                if *start + before.len() as u64 == offset =>
            {
                before.extend_from_slice(bytes);
            }
            (Entry::Write { offset, bytes }, _) => changes.push(Change::Write { offset, bytes: bytes.into() }),
            (Entry::Data(bytes), _) => changes.push(Change::Data(bytes.into())),
            (Entry::SetLen(len), _) => changes.push(Change::SetLen(len)),
            (Entry::Checkpoint { redo_lsn, target_len, .. }, _) => {
                changes.push(Change::Checkpoint { redo_lsn, target_len });
            }
        }
    }
    Ok(given)
}

/// What `verify` says of the log; `None` where there is none.
pub fn verify(sim: &Sim) -> Option<Report> {
    match Log::open_on(&sim.disk(), Path::new(LOG), None) {
        Ok(log) => Some(Report::of(&log, |_| ()).expect("a disk that can be read")),
        Err(Error::Unknown { .. }) => None,
        Err(Error::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

/// Whatever the crash, the log is not damaged, and it is there if anything was acknowledged. Gives whether it is torn.
pub fn is_no_worse_than_torn(sim: &Sim, model: &Model) -> bool {
    let Some(report) = verify(sim) else {
        assert!(model.owes_nothing(), "something was acknowledged, and there is no log");
        return false;
    };
    let proof = || report.proof().map(|proof| proof.to_string()).unwrap_or_default();
    match report.verdict() {
        Verdict::Clean => false,
        Verdict::TornTail => true,
        verdict => panic!("verify says {verdict}: {}", proof()),
    }
}

/// Nor is any file of it, looked at without its neighbours.
pub fn no_segment_is_worse_than_torn(sim: &Sim) {
    for path in sim.files().into_keys().filter(|path| path.extension().is_some_and(|extension| extension == "wal")) {
        let log = Log::open_on(&sim.disk(), &path, None).expect("a segment");
        let report = Report::of(&log, |_| ()).expect("a disk that can be read");
        let proof = report.proof().map(|proof| proof.to_string()).unwrap_or_default();
        let good = matches!(report.verdict(), Verdict::Clean | Verdict::TornTail);
        assert!(good, "verify {} says {}: {proof}", path.display(), report.verdict());
    }
}

/// The error of a writer that has met a failure: from where to where it does not know.
pub fn unknown(error: &WalError) -> Option<(Lsn, Lsn)> {
    match error {
        WalError::DurabilityUnknown { from, to, .. } => Some((*from, *to)),
        _ => None,
    }
}
