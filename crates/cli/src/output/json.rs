//! Results as JSON, indented.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use crate::error::{CommandResult, OutputError};

const INDENT: &str = "    ";
/// Deeper levels stay at this one: a hostile config must not become gigabytes of spaces.
const MAX_INDENTS: usize = 12;

/// Prints a result as one JSON document.
pub(crate) fn print_json(value: &impl Serialize) -> CommandResult {
    let compact = serde_json::to_string(value).map_err(OutputError::Json)?;
    let mut out = BufWriter::new(io::stdout().lock());
    super::printed(indent(&compact, &mut out).and_then(|()| out.flush()))
}

/// Indents JSON by its punctuation alone. Documents out of images are carried as they are and never
/// made into values, which could take many times their size.
fn indent(json: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut depth = 0;
    let mut just_opened = false;
    let mut string = InString::No;
    for c in json.chars() {
        if string.step(c) {
            if just_opened {
                new_line(depth, out)?;
            }
            just_opened = false;
            write_in_string(c, out)?;
            continue;
        }
        match c {
            ' ' | '\t' | '\n' | '\r' => continue,
            '}' | ']' => {
                depth -= 1;
                if !just_opened {
                    new_line(depth, out)?;
                }
            }
            _ if just_opened => new_line(depth, out)?,
            _ => {}
        }
        write!(out, "{c}")?;
        just_opened = matches!(c, '{' | '[');
        match c {
            '{' | '[' => depth += 1,
            ',' => new_line(depth, out)?,
            ':' => out.write_all(b" ")?,
            _ => {}
        }
    }
    out.write_all(b"\n")
}

fn new_line(depth: usize, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "\n{}", INDENT.repeat(depth.min(MAX_INDENTS)))
}

/// JSON lets some control characters stand in strings; terminals do not take them for text.
fn write_in_string(c: char, out: &mut dyn Write) -> io::Result<()> {
    match c.is_control() {
        true => write!(out, "\\u{:04x}", u32::from(c)),
        false => write!(out, "{c}"),
    }
}

/// Where the reader stands between quotation marks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InString {
    No,
    Yes,
    AfterBackslash,
}

impl InString {
    /// Takes in the next character, and tells whether it belongs to a string, quotation marks included.
    fn step(&mut self, c: char) -> bool {
        let before = *self;
        *self = match (before, c) {
            (Self::No, '"') => Self::Yes,
            (Self::Yes, '"') => Self::No,
            (Self::Yes, '\\') => Self::AfterBackslash,
            (Self::AfterBackslash, _) => Self::Yes,
            (same, _) => same,
        };
        before != Self::No || *self != Self::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indented(json: &str) -> String {
        let mut out = Vec::new();
        indent(json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_indented_and_means_the_same() {
        let json = r#"{"a":[],"b":{},"c":["x,{\"\\",1,{ "d" : null }],"e":[ [ ] ],"f":true}"#;
        let text = indented(json);
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&text), parse(json));
        assert_eq!(
            text,
            serde_json::to_string_pretty(&parse(json)).unwrap().replace("  ", "    ") + "\n"
        );
    }

    #[test]
    fn control_characters_and_depth_are_bounded() {
        assert_eq!(indented("\"\u{9b}2J\u{7f}\""), "\"\\u009b2J\\u007f\"\n");
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let longest = indented(&deep).lines().map(str::len).max();
        assert!(longest < Some(MAX_INDENTS * INDENT.len() + 3));
    }
}
