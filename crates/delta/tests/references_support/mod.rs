//! Small ELF files with the sections that are asked for.

use std::ops::Range;

use delta::references::Machine;

/// What a section of a made-up file is.
pub(crate) struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    contents: Vec<u8>,
}

impl Section {
    /// How many kinds [`of_kind`](Self::of_kind) makes.
    pub(crate) const KINDS: usize = 8;

    pub(crate) fn code(contents: Vec<u8>) -> Self {
        Self { name: ".text", kind: 1, flags: 6, contents }
    }

    /// A section of that number among all kinds that hold references.
    pub(crate) fn of_kind(number: usize, contents: Vec<u8>) -> Self {
        let (name, kind, flags) = [
            (".text", 1, 6),
            (".rela.dyn", 4, 2),
            (".dynsym", 11, 2),
            (".eh_frame_hdr", 1, 2),
            (".eh_frame", 1, 2),
            (".data", 1, 3),
            (".dynamic", 6, 3),
            (".rodata", 1, 2),
        ][number];
        Self { name, kind, flags, contents }
    }
}

/// Puts an ELF file together: one loadable segment at address 0x10000 that holds everything.
pub(crate) struct ElfBuilder {
    machine: Machine,
    sections: Vec<Section>,
}

pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    /// The file header, the program headers, the section headers.
    pub(crate) headers: [Range<usize>; 3],
}

impl Built {
    /// Where those bytes are.
    pub(crate) fn find(&self, bytes: &[u8]) -> usize {
        self.bytes.windows(bytes.len()).position(|window| window == bytes).expect("they are there")
    }
}

const ADDRESS: u64 = 0x10000;

impl ElfBuilder {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, sections: Vec::new() }
    }

    pub(crate) fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    pub(crate) fn build(self) -> Built {
        let machine: u16 = match self.machine {
            Machine::X86_64 => 62,
            Machine::Aarch64 => 183,
        };
        let mut bytes = vec![0; 64 + 56];
        let mut headers = vec![0u8; 64];
        let mut names = vec![0u8];
        for section in &self.sections {
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            let offset = bytes.len() as u64;
            bytes.extend(&section.contents);
            let name = u32::try_from(names.len()).unwrap();
            names.extend(section.name.bytes().chain([0]));
            let fields = [section.flags, ADDRESS + offset, offset, section.contents.len() as u64];
            headers.extend(name.to_le_bytes());
            headers.extend(section.kind.to_le_bytes());
            headers.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
            headers.resize(headers.len().next_multiple_of(64), 0);
        }
        names.resize(names.len() + 32, 0);
        let offset = bytes.len() as u64;
        headers.extend([0, 0, 0, 0, 3, 0, 0, 0]);
        let fields = [0, 0, offset, names.len() as u64];
        headers.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        headers.resize(headers.len().next_multiple_of(64), 0);
        bytes.extend(names);
        bytes.resize(bytes.len().next_multiple_of(8), 0);

        let sections = bytes.len();
        let count = u16::try_from(headers.len() / 64).unwrap();
        bytes.extend(headers);
        let end = bytes.len();
        bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        bytes[16..20].copy_from_slice(&[3, 0, machine.to_le_bytes()[0], machine.to_le_bytes()[1]]);
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[40..48].copy_from_slice(&(sections as u64).to_le_bytes());
        let counts = [64, 56, 1, 64, count, count - 1];
        let counts: Vec<u8> = counts.iter().flat_map(|count: &u16| count.to_le_bytes()).collect();
        bytes[52..64].copy_from_slice(&counts);
        let program = [(1u64 | 7 << 32), 0, ADDRESS, ADDRESS, end as u64, end as u64, 0x1000];
        let program: Vec<u8> = program.iter().flat_map(|field| field.to_le_bytes()).collect();
        bytes[64..120].copy_from_slice(&program);
        Built { bytes, headers: [0..64, 64..120, sections..end] }
    }
}
