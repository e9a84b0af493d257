//! How results look: text for people, JSON for programs. Nothing that came from an image reaches a
//! terminal with control characters in it.

mod json;
mod size;
mod table;
mod time;

use std::io::{self, Write};

use silt::{Digest, Name};

use crate::error::{CommandError, CommandResult, OutputError};

pub(crate) use json::print_json;
pub(crate) use size::{exact_size, short_size};
pub(crate) use table::Table;
pub(crate) use time::ago;

/// Writes a result to standard output.
pub(crate) fn print(text: &str) -> CommandResult {
    let mut out = io::stdout().lock();
    printed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What became of writing to standard output.
fn printed(written: io::Result<()>) -> CommandResult {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CommandError::ReaderGone),
        Err(error) => Err(OutputError::Write(error).into()),
    }
}

/// Tells the user something that is no result. Where standard error is closed, nobody listens.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", one_line(text));
}

/// The text without control characters, which could move the cursor or forge a second line.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// At most `limit` characters, in one line.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    let line = one_line(text);
    match line.char_indices().nth(limit) {
        Some(_) => line.chars().take(limit - 1).chain(['…']).collect(),
        None => line,
    }
}

/// The first 12 digits of a digest, as Docker shows it.
pub(crate) fn short_id(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}

/// Names, separated by spaces.
pub(crate) fn joined(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(Name::to_string).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_do_not_write_to_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc\td\r\u{9b}"), "a\\u{1b}[2Jb c d\\r\\u{9b}");
        assert_eq!(shortened("über\n12345", 6), "über …");
        assert_eq!(shortened("123456", 6), "123456");
    }
}
