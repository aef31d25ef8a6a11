//! Prints a trace, an event a line.

use memhook_trace::Trace;
use std::io::{self, BufWriter, Write};

fn main() -> io::Result<()> {
    let path = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: dump FILE"))?;
    let trace = Trace::open(path)?;
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "{:?}", trace.head())?;
    for module in trace.modules() {
        let id: String = module.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "{:#x}-{:#x} {} {id}", module.start, module.end, module.path.display())?;
    }
    for event in trace.events() {
        let name = event.function.name();
        write!(out, "{} {} {name} {:x?}", event.time_ns, event.thread, event.what)?;
        for &caller in event.callers.iter() {
            match trace.module(caller, event.ticks) {
                Some(module) => {
                    write!(out, " {}+{:#x}", module.path.display(), caller.wrapping_sub(module.base))?
                }
                None => write!(out, " {caller:#x}")?,
            }
        }
        writeln!(out)?;
    }
    for damage in trace.damage() {
        writeln!(out, "{damage}")?;
    }
    Ok(())
}
