//! Several files in one input.
//!
//! An input is cut at lines `=== NAME`; what follows such a line, up to the next, is a file. In names
//! and contents `{{N}}` stands for the SHA-256 of file number N, counted from 0, as 64 digits, and
//! `{{#N}}` for its size; a content may name files before it, a name its own too. So documents
//! can be wrong in all ways without failing at the first digest.

use tarball::Digest;

const MARK: &[u8] = b"=== ";
/// More files than this are left out.
const MAX_SECTIONS: usize = 64;

/// One file of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name, as an enemy might spell it.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The files of an input.
pub fn parse(data: &[u8]) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (name, content) in cut(data).into_iter().take(MAX_SECTIONS) {
        let content = fill_in(&content, &sections);
        sections.push(Section { name: String::new(), content });
        let name = fill_in(name, &sections);
        if let Some(last) = sections.last_mut() {
            last.name = String::from_utf8_lossy(&name).into_owned();
        }
    }
    sections
}

/// An input of these files; [`parse`] gives them back if no content has a line that looks like a mark.
pub fn to_bytes<'a>(sections: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in sections {
        bytes.extend(MARK);
        bytes.extend(name.as_bytes());
        bytes.push(b'\n');
        bytes.extend(content);
        bytes.push(b'\n');
    }
    bytes
}

/// Names and contents, nothing filled in. The line end before a mark belongs to the mark.
fn cut(data: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut found: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(MARK) {
            drop_line_end(&mut found);
            found.push((name.strip_suffix(b"\n").unwrap_or(name), Vec::new()));
        } else if let Some((_, content)) = found.last_mut() {
            content.extend_from_slice(line);
        }
    }
    drop_line_end(&mut found);
    found
}

fn drop_line_end(found: &mut [(&[u8], Vec<u8>)]) {
    if let Some((_, content)) = found.last_mut()
        && content.last() == Some(&b'\n')
    {
        content.pop();
    }
}

fn fill_in(template: &[u8], sections: &[Section]) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"{{") {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        match placeholder(after, sections) {
            Some((value, length)) => {
                out.extend(value.into_bytes());
                rest = &after[length..];
            }
            None => {
                out.extend_from_slice(&after[..2]);
                rest = &after[2..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

/// What the placeholder at the start of `text` stands for, and its length.
fn placeholder(text: &[u8], sections: &[Section]) -> Option<(String, usize)> {
    let end = text.iter().take(8).position(|byte| *byte == b'}')?;
    if text.get(end + 1) != Some(&b'}') {
        return None;
    }
    let inside = std::str::from_utf8(&text[2..end]).ok()?;
    let number: usize = inside.trim_start_matches('#').parse().ok()?;
    let section = sections.get(number)?;
    let value = match inside.starts_with('#') {
        true => section.content.len().to_string(),
        false => Digest::of(&section.content).hex(),
    };
    Some((value, end + 2))
}

/// A tar of these files, in order.
pub fn to_tar(sections: &[Section]) -> Vec<u8> {
    let mut tar = Vec::new();
    for section in sections {
        append_member(&mut tar, &section.name, &section.content);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// One file at the end of a tar; a name beyond 100 bytes is cut.
pub fn append_member(tar: &mut Vec<u8>, name: &str, content: &[u8]) {
    let start = tar.len();
    let mut header = [0; 512];
    let length = name.len().min(100);
    header[..length].copy_from_slice(&name.as_bytes()[..length]);
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    tar.extend(header);
    crate::reframe::seal_tar_header(&mut tar[start..start + 512]);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_one_another() {
        let input = b"=== a\nhello\n=== blobs/{{1}}\n\"{{0}}\" {{#0}} {{9}} {{}} {{\n=== c\n{{#1}}";
        let sections = parse(input);
        let hex = Digest::of(b"hello").hex();
        assert_eq!(sections[0], Section { name: "a".into(), content: b"hello".to_vec() });
        let second = format!("\"{hex}\" 5 {{{{9}}}} {{{{}}}} {{{{");
        assert_eq!(sections[1].content, second.as_bytes());
        assert_eq!(sections[1].name, format!("blobs/{}", Digest::of(second.as_bytes()).hex()));
        assert_eq!(sections[2].content, second.len().to_string().as_bytes());
    }

    #[test]
    fn contents_are_any_bytes() {
        let files = [("a", b"\n\0\xff\n\n".as_slice()), ("b", b""), ("c", b"=x\n")];
        let parsed = parse(&to_bytes(files));
        let found: Vec<_> =
            parsed.iter().map(|s| (s.name.as_str(), s.content.as_slice())).collect();
        assert_eq!(found, files);
    }
}
