//! The password of a secret key: from a file, the environment, or the terminal.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The first line of the file, else `SILT_KEY_PASSWORD`, else what is typed; `None` where there is no
/// terminal either.
pub(crate) fn find(file: Option<&Path>, key: &Path) -> io::Result<Option<Vec<u8>>> {
    if let Some(file) = file {
        return Ok(Some(first_line(&fs::read(file)?)));
    }
    if let Some(password) = std::env::var_os("SILT_KEY_PASSWORD") {
        return Ok(Some(password.into_encoded_bytes()));
    }
    ask(key)
}

fn first_line(text: &[u8]) -> Vec<u8> {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line).to_vec()
}

/// What is typed is not shown.
fn ask(key: &Path) -> io::Result<Option<Vec<u8>>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let Ok(mut terminal) = terminal else { return Ok(None) };
    write!(terminal, "Password of {}: ", key.display())?;
    let before = tcgetattr(&terminal)?;
    let mut silent: Termios = before.clone();
    silent.local_modes &= !LocalModes::ECHO;
    tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let mut line = Vec::new();
    let read = BufReader::new(&terminal).read_until(b'\n', &mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    writeln!(terminal)?;
    read?;
    Ok(Some(first_line(&line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_line() {
        for (text, line) in [("a b\n", "a b"), ("a b", "a b"), ("a\r\nb\n", "a"), ("", "")] {
            assert_eq!(first_line(text.as_bytes()), line.as_bytes());
        }
    }
}
