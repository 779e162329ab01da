//! The CPU time of processes, as the kernel counts it.

use std::time::Duration;

/// The kernel counts CPU time in hundredths of a second for all programs, whatever its own clock.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of some processes together.
#[derive(Clone, Debug)]
pub(super) struct CpuOf(Vec<u32>);

impl CpuOf {
    /// Of the processes with these ids; an error if one is not there.
    pub(super) fn processes(ids: Vec<u32>) -> Result<Self, String> {
        let this = Self(ids);
        for id in &this.0 {
            used(*id).ok_or_else(|| format!("--cpu-of {id}: there is no such process to be read"))?;
        }
        Ok(this)
    }

    /// What they have used so far; one that has ended counts no more.
    pub(super) fn used(&self) -> Duration {
        self.0.iter().filter_map(|id| used(*id)).sum()
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn used(id: u32) -> Option<Duration> {
    parse(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// User and system time of a line of `/proc/PID/stat`; the name before may hold anything, also spaces and brackets.
fn parse(line: &str) -> Option<Duration> {
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK.saturating_mul(user.saturating_add(system)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let line = "4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 123";
        assert_eq!(parse(line), Some(Duration::from_secs(3)));
        assert_eq!(parse("4711 nonsense"), None);
    }

    #[test]
    fn a_process_that_is_not_there_is_told() {
        assert!(CpuOf::processes(vec![std::process::id()]).is_ok());
        assert!(CpuOf::processes(vec![u32::MAX]).unwrap_err().contains("no such process"));
    }
}
