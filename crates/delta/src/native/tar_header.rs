//! A tar header said by its fields: each is that of the old header, that of the header before it in
//! the target, sent as bytes, or, for the checksum, computed.

use std::ops::Range;

use crate::tar_map::{Block, align, checksum, number};

/// Byte ranges of the fields of a ustar header; together they are the block.
const FIELDS: [Range<usize>; 16] = [
    0..100,   // name
    100..108, // mode
    108..116, // uid
    116..124, // gid
    124..136, // size
    136..148, // mtime
    148..156, // checksum
    156..157, // type flag
    157..257, // link name
    257..265, // magic and version
    265..297, // user name
    297..329, // group name
    329..337, // device major
    337..345, // device minor
    345..500, // prefix
    500..512, // padding
];
const CHECKSUM_FIELD: usize = 6;

/// How a field is said; two bits of a template, the first field's lowest.
const FROM_OLD: u32 = 0;
const FROM_LAST: u32 = 1;
const AS_BYTES: u32 = 2;
/// Only the checksum: six octal digits, a NUL and a space, as GNU tar, bsdtar and Go write it …
const COMPUTED: u32 = 3;
/// … or seven octal digits and a NUL. (That of the header before would never be of use.)
const COMPUTED_SEVEN_DIGITS: u32 = FROM_LAST;

/// Templates that can be referred to again; more are sent each time.
const MAX_TEMPLATES: usize = 4096;

/// What is remembered from header to header, alike on both sides.
pub(super) struct HeaderContext {
    last: Block,
    templates: Vec<u32>,
}

impl Default for HeaderContext {
    fn default() -> Self {
        Self { last: [0; 512], templates: Vec::new() }
    }
}

/// A header, said: which template, and the bytes of the fields that the template sends.
pub(super) struct SaidHeader<'a> {
    /// Its number; the count of templates so far announces a new one.
    pub(super) number: u64,
    /// The template, where it is new.
    pub(super) new_template: Option<u32>,
    /// The fields that are sent, without the NULs at their ends.
    pub(super) fields: Vec<&'a [u8]>,
}

impl HeaderContext {
    /// Says `header`, with the help of `old` where there is one.
    pub(super) fn say<'a>(&mut self, header: &'a Block, old: Option<&Block>) -> SaidHeader<'a> {
        let mut template = 0;
        let mut fields = Vec::new();
        for (i, range) in FIELDS.into_iter().enumerate() {
            let field = &header[range.clone()];
            let how = if let Some(how) =
                (i == CHECKSUM_FIELD).then(|| checksum_style(header)).flatten()
            {
                how
            } else if old.is_some_and(|old| old[range.clone()] == *field) {
                FROM_OLD
            } else if i != CHECKSUM_FIELD && self.last[range.clone()] == *field {
                FROM_LAST
            } else {
                fields.push(trim(field));
                AS_BYTES
            };
            template |= how << (2 * i);
        }
        self.last = *header;
        let known = self.templates.iter().position(|t| *t == template);
        let number = known.unwrap_or(self.templates.len()) as u64;
        let new_template = known.is_none().then_some(template);
        if known.is_none() && self.templates.len() < MAX_TEMPLATES {
            self.templates.push(template);
        }
        SaidHeader { number, new_template, fields }
    }

    /// How many templates there are; this number announces a new one.
    pub(super) fn template_count(&self) -> u64 {
        self.templates.len() as u64
    }

    /// The template of a number below [`Self::template_count`].
    pub(super) fn template(&self, number: u64) -> Option<u32> {
        self.templates.get(usize::try_from(number).ok()?).copied()
    }

    /// Notes a new template.
    pub(super) fn learn(&mut self, template: u32) {
        if self.templates.len() < MAX_TEMPLATES {
            self.templates.push(template);
        }
    }

    /// Rebuilds the header of a template; `next_field` fills its buffer with the next field that
    /// was sent, up to the buffer's length. `Err` holds what the template asks that cannot be.
    pub(super) fn rebuild(
        &mut self,
        template: u32,
        old: Option<&Block>,
        mut next_field: impl FnMut(&mut [u8]) -> Result<(), &'static str>,
    ) -> Result<Block, &'static str> {
        let mut header = [0; 512];
        for (i, range) in FIELDS.into_iter().enumerate() {
            let field = &mut header[range.clone()];
            match (template >> (2 * i)) & 3 {
                COMPUTED | COMPUTED_SEVEN_DIGITS if i == CHECKSUM_FIELD => {}
                FROM_OLD => field.copy_from_slice(
                    &old.ok_or("a header takes a field of an old one, and has none")?[range],
                ),
                FROM_LAST => field.copy_from_slice(&self.last[range]),
                AS_BYTES => next_field(field)?,
                _ => return Err("a header computes a field that cannot be computed"),
            }
        }
        if let Some(field) = computed_checksum((template >> (2 * CHECKSUM_FIELD)) & 3, &header) {
            header[FIELDS[CHECKSUM_FIELD].clone()].copy_from_slice(&field);
        }
        self.last = header;
        Ok(header)
    }
}

/// The way of computing that makes the checksum field of `header`, if one does.
fn checksum_style(header: &Block) -> Option<u32> {
    let field = &header[FIELDS[CHECKSUM_FIELD].clone()];
    let makes_it = |how: &u32| computed_checksum(*how, header).is_some_and(|made| made == *field);
    [COMPUTED, COMPUTED_SEVEN_DIGITS].into_iter().find(makes_it)
}

/// The checksum field that one way of computing makes.
fn computed_checksum(how: u32, header: &Block) -> Option<[u8; 8]> {
    let (mut field, digits) = match how {
        COMPUTED => (*b"000000\0 ", 6),
        COMPUTED_SEVEN_DIGITS => (*b"0000000\0", 7),
        _ => return None,
    };
    let mut rest = checksum(header);
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + (rest & 7).to_le_bytes()[0];
        rest >>= 3;
    }
    Some(field)
}

fn trim(field: &[u8]) -> &[u8] {
    &field[..field.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

/// Bytes of the whole blocks that follow a header by its size field: what
/// [`HEADER_WITH_BODY`](super::operations::HEADER_WITH_BODY) copies.
pub(super) fn body_bytes(header: &Block) -> u64 {
    match header[156] {
        b'1'..=b'6' => 0,
        _ => number(&header[124..136]).map_or(0, align),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(name: &str, mtime: u64) -> Block {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(1000);
        header.set_mode(0o644);
        header.set_mtime(mtime);
        header.set_cksum();
        *header.as_bytes()
    }

    fn rebuild(context: &mut HeaderContext, said: &SaidHeader<'_>, old: Option<&Block>) -> Block {
        if let Some(template) = said.new_template {
            context.learn(template);
        }
        let mut fields = said.fields.iter();
        let template = context.template(said.number).unwrap();
        context
            .rebuild(template, old, |out| {
                let field = fields.next().unwrap();
                out[..field.len()].copy_from_slice(field);
                Ok(())
            })
            .unwrap()
    }

    #[test]
    fn fields_cover_the_block() {
        assert!(FIELDS.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!((FIELDS[0].start, FIELDS[15].end), (0, 512));
    }

    #[test]
    fn a_new_mtime_is_sent_once() {
        let (mut writer, mut reader) = (HeaderContext::default(), HeaderContext::default());
        let mut sent = Vec::new();
        for (i, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let (old, new) = (header(name, 1000 + i as u64), header(name, 777_777));
            let said = writer.say(&new, Some(&old));
            assert_eq!(rebuild(&mut reader, &said, Some(&old)), new);
            sent.push((said.number, said.fields.len()));
        }
        assert_eq!(sent, [(0, 1), (1, 0), (1, 0), (1, 0)]);
    }

    proptest! {
        #[test]
        fn any_block_comes_back(blocks in proptest::collection::vec(any::<[u8; 32]>(), 1..20)) {
            let (mut writer, mut reader) = (HeaderContext::default(), HeaderContext::default());
            let widen = |seed: &[u8; 32]| -> Block { std::array::from_fn(|i| seed[i % 32] & 3) };
            for pair in blocks.windows(2) {
                let (old, new) = (widen(&pair[0]), widen(&pair[1]));
                let said = writer.say(&new, Some(&old));
                prop_assert_eq!(rebuild(&mut reader, &said, Some(&old)), new);
            }
        }
    }

    #[test]
    fn templates_that_cannot_be_are_refused() {
        let mut context = HeaderContext::default();
        assert!(context.rebuild(FROM_OLD, None, |_| Ok(())).is_err());
        assert!(context.rebuild(COMPUTED, Some(&[0; 512]), |_| Ok(())).is_err());
    }
}
