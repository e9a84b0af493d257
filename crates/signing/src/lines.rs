//! The lines of minisign's files.

use crate::{MAX_FILE_BYTES, ParseError};

const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";

/// Lines of a text that were not read yet.
pub(crate) struct Lines<'a> {
    lines: std::str::Lines<'a>,
    number: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Result<Self, ParseError> {
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(ParseError::TooLarge { bytes: text.len() });
        }
        let text = std::str::from_utf8(text).map_err(|_| ParseError::NotText)?;
        Ok(Self { lines: text.lines(), number: 0 })
    }

    pub(crate) fn untrusted_comment(&mut self) -> Result<&'a str, ParseError> {
        let found = self.next().and_then(|line| line.strip_prefix(UNTRUSTED));
        found.ok_or(self.expected("\"untrusted comment: …\""))
    }

    pub(crate) fn trusted_comment(&mut self) -> Result<&'a str, ParseError> {
        let found = self.next().and_then(|line| line.strip_prefix(TRUSTED));
        found.ok_or(self.expected("\"trusted comment: …\""))
    }

    /// A line of `N` bytes in base64.
    pub(crate) fn bytes<const N: usize>(
        &mut self,
        expected: &'static str,
    ) -> Result<[u8; N], ParseError> {
        let found = self.next().and_then(crate::base64::decode);
        found.ok_or(self.expected(expected))
    }

    /// Fails where more follows than empty lines.
    pub(crate) fn end(mut self) -> Result<(), ParseError> {
        while let Some(line) = self.next() {
            if !line.trim().is_empty() {
                return Err(self.expected("the end"));
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.lines.next()
    }

    fn expected(&self, expected: &'static str) -> ParseError {
        ParseError::Line { line: self.number, expected }
    }
}

/// The two lines of a key.
pub(crate) fn key_text(comment: &str, bytes: &[u8]) -> String {
    format!("{UNTRUSTED}{comment}\n{}\n", crate::base64::encode(bytes))
}

/// The four lines of a signature.
pub(crate) fn signature_text(
    untrusted: &str,
    signature: &[u8],
    trusted: &str,
    global: &[u8],
) -> String {
    let (signature, global) = (crate::base64::encode(signature), crate::base64::encode(global));
    format!("{UNTRUSTED}{untrusted}\n{signature}\n{TRUSTED}{trusted}\n{global}\n")
}
