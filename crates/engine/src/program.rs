//! Engines' own programs.

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use crate::error::{EngineError, Unreachable};
use crate::place::EngineKind;

/// Runs a program to its end; gives what it printed.
pub(crate) fn run(
    mut command: Command,
    kind: EngineKind,
    address: &str,
    action: &str,
) -> Result<Vec<u8>, EngineError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().map_err(|error| missing(kind, &program, &error))?;
    match status.success() {
        true => Ok(stdout),
        false if is_gone(&stderr) => Err(EngineError::Unreachable {
            kind,
            address: address.to_owned(),
            why: Unreachable::Stopped,
        }),
        false => Err(refused(kind, action, &stderr)),
    }
}

/// That a program is not there.
pub(crate) fn missing(kind: EngineKind, program: &str, error: &io::Error) -> EngineError {
    let address = program.to_owned();
    EngineError::Unreachable { kind, address, why: Unreachable::from(error) }
}

/// What a program says when its daemon does not answer.
fn is_gone(stderr: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stderr);
    text.contains("connection refused") || text.contains("error reading from server: EOF")
}

/// The last line is the reason; those before are warnings.
pub(crate) fn refused(kind: EngineKind, action: &str, stderr: &[u8]) -> EngineError {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    let last = last.trim();
    let message =
        last.strip_prefix("Error: ").or_else(|| last.strip_prefix("ctr: ")).unwrap_or(last);
    EngineError::Refused { kind, action: action.to_owned(), message: message.to_owned() }
}

/// The output of a program, which ends with an error where the program does.
pub(crate) struct ProgramStream {
    child: Child,
    stdout: Option<ChildStdout>,
    kind: EngineKind,
    action: &'static str,
}

impl ProgramStream {
    pub(crate) fn start(
        mut command: Command,
        kind: EngineKind,
        program: &str,
        action: &'static str,
    ) -> Result<Self, EngineError> {
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| missing(kind, program, &error))?;
        let stdout = child.stdout.take();
        Ok(Self { child, stdout, kind, action })
    }
}

impl Read for ProgramStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.stdout {
            Some(stdout) => stdout.read(buffer)?,
            None => 0,
        };
        if count == 0 && !buffer.is_empty() && self.stdout.take().is_some() {
            let mut message = Vec::new();
            if let Some(stderr) = self.child.stderr.take() {
                stderr.take(64 << 10).read_to_end(&mut message)?;
            }
            if !self.child.wait()?.success() {
                return Err(io::Error::other(refused(self.kind, self.action, &message)));
            }
        }
        Ok(count)
    }
}

impl Drop for ProgramStream {
    /// A program that nobody listens to is not left behind.
    fn drop(&mut self) {
        if self.stdout.take().is_some() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_fails_is_told_by_its_last_line() {
        let kind = EngineKind::Podman;
        let error =
            run(shell("echo w >&2; echo 'Error: no such thing' >&2; exit 3"), kind, "x", "do it");
        assert_eq!(error.unwrap_err().to_string(), "podman refused to do it: no such thing");
        assert_eq!(run(shell("echo fine"), kind, "x", "do it").unwrap(), b"fine\n");
        let gone = run(shell("echo 'dial: connection refused' >&2; exit 1"), kind, "x", "do it");
        assert!(matches!(gone, Err(EngineError::Unreachable { .. })), "{gone:?}");
        let missing = run(Command::new("/no/such/program"), kind, "x", "do it");
        assert!(matches!(missing, Err(EngineError::Unreachable { .. })), "{missing:?}");
    }

    #[test]
    fn a_stream_ends_badly_where_its_program_does() {
        let start = |script| ProgramStream::start(shell(script), EngineKind::Podman, "sh", "save");
        let mut all = Vec::new();
        start("echo text").unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, b"text\n");
        let error = start("echo text; echo why >&2; exit 1").unwrap().read_to_end(&mut all);
        assert!(error.unwrap_err().to_string().contains("why"));
    }
}
