//! The start of a session.

use super::data::Data;
use super::report::Target;
use super::session::{Session, Setup};
use super::*;
use crate::abi::*;
use crate::api::hooks::memhook_register;
use crate::tools::path::Path;
use core::ffi::c_void;

/// How a session is started, checked.
pub(super) struct Start<'a> {
    pub(super) flags: u32,
    pub(super) signal: c_int,
    pub(super) report: Option<&'a [u8]>,
    pub(super) data: Option<DataFile<'a>>,
    pub(super) data_buffer: u32,
    pub(super) exit_status: c_int,
    pub(super) batch: usize,
    pub(super) limits: memhook_usage_limits,
    /// Where the stack of the thread that starts it is.
    pub(super) stack: usize,
}

/// Says what cannot be had, and decides whether to go on without.
pub(super) type Complain<'a> = &'a dyn Fn(&[u8], c_int) -> Result<(), c_int>;

/// Which file entries go to.
#[derive(Clone, Copy)]
pub(super) enum DataFile<'a> {
    Pattern(&'a [u8]),
    /// The name as it is, ended by NUL.
    Name(&'a [u8]),
}

impl Start<'_> {
    /// Nothing but counting.
    pub(super) const PLAIN: Start<'static> = Start {
        flags: 0,
        signal: 0,
        report: None,
        data: None,
        data_buffer: 0,
        exit_status: 0,
        batch: 0,
        limits: limits::NONE,
        stack: 0,
    };

    /// Begins to count.
    pub(super) fn begin(&self, complain: Complain) -> Result<memhook_id, c_int> {
        // What is to be refused is refused before a file is emptied.
        signal::is_free(self.signal)?;
        let status = if self.exit_status == 0 { exit::STATUS } else { self.exit_status };
        let session = Session::take(Setup::new(self.flags, status, self.limits, self.signal))?;
        match self.put_in_force(session, complain) {
            Ok(id) => {
                session.name(id);
                session.begin_stack(self.stack);
                signal::begin_timer(session);
                Ok(id)
            }
            Err(error) => {
                session.end_running();
                session.leave(1);
                Err(error)
            }
        }
    }

    fn put_in_force(&self, session: &'static Session, complain: Complain) -> Result<memhook_id, c_int> {
        let mut target = Target::none();
        if let Some(pattern) = self.report {
            match Target::file(pattern) {
                Ok(file) => target = file,
                Err(error) => complain(b"its report comes here, not into the file: ", error)?,
            }
        }
        let mut data = None;
        if let Some(file) = self.data {
            match open(file).and_then(|fd| Data::new(fd, self.data_buffer)) {
                Ok(file) => data = Some(file),
                Err(error) => complain(b"there is no data file: ", error)?,
            }
        }
        let has_data = data.is_some();
        session.equip(target, data);
        // A file shows every change.
        let batch = match (has_data, self.batch) {
            (true, _) => 0,
            (false, 0) => 65536,
            (false, batch) => batch as i64,
        };
        let ends = self.flags & MEMHOOK_USAGE_ABORT != 0 && self.limits.which & MEMHOOK_USAGE_PEAK != 0;
        let never_above = if ends { i64::try_from(self.limits.peak).unwrap_or(i64::MAX) } else { i64::MAX };
        session.peak.begin(batch, never_above);
        let former = signal::begin(session)?;
        register(session, has_data).inspect_err(|_| signal::end(session, former))
    }
}

fn open(file: DataFile) -> Result<i32, c_int> {
    match file {
        DataFile::Pattern(pattern) => Path::create(pattern, &mut *Path::paged()?),
        DataFile::Name(name) => {
            crate::sys::file::open(name, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o666)
        }
    }
}

fn register(session: &'static Session, has_data: bool) -> Result<memhook_id, c_int> {
    let flags = session.setup().flags & MEMHOOK_THIS_THREAD
        | MEMHOOK_SEES_NULL
        | MEMHOOK_SEES_REFUSED
        | MEMHOOK_KEEPS_ERRNO;
    let table = match has_data {
        true => callbacks::table::<true>(session, flags),
        false => callbacks::table::<false>(session, flags),
    };
    let mut id = 0;
    // SAFETY: a whole table, and a place for the id; sessions are never unmapped.
    match unsafe { memhook_register(&raw const table, &raw mut id) } {
        0 => Ok(id),
        error => Err(error),
    }
}

/// The hook's release: its last block is gone.
pub(super) unsafe extern "C" fn release(user: *mut c_void) {
    // SAFETY: sessions are never unmapped.
    let session = unsafe { &*user.cast::<Session>() };
    session.released();
}
