//! Small ELF files with the sections that are asked for.

use std::ops::Range;

use delta::references::Machine;

pub(crate) mod go;

/// What a section of a made-up file is.
pub(crate) struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    contents: Vec<u8>,
}

impl Section {
    /// How many kinds [`of_kind`](Self::of_kind) makes.
    pub(crate) const KINDS: usize = 10;

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
            (".ARM.exidx", 0x7000_0001, 2),
            (".gopclntab", 1, 2),
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

/// Where the first section of a 64-bit file is loaded.
pub(crate) const FIRST_SECTION: u64 = ADDRESS + 128;

impl ElfBuilder {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, sections: Vec::new() }
    }

    pub(crate) fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    pub(crate) fn build(self) -> Built {
        let (machine, is_wide): (u16, bool) = match self.machine {
            Machine::X86_64 => (62, true),
            Machine::Aarch64 => (183, true),
            Machine::Arm => (40, false),
            Machine::Python => unreachable!("it has no ELF files"),
        };
        let [file_header, program_header, section_header] =
            if is_wide { [64, 56, 64] } else { [52, 32, 40] };
        let words = |numbers: &[u64]| -> Vec<u8> {
            let width = if is_wide { 8 } else { 4 };
            numbers.iter().flat_map(|number| number.to_le_bytes()[..width].to_vec()).collect()
        };
        let halves = |numbers: &[u16]| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        };
        let mut bytes = vec![0; file_header + program_header];
        let mut headers = vec![0u8; section_header];
        let mut names = vec![0u8];
        for section in &self.sections {
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            let offset = bytes.len() as u64;
            bytes.extend(&section.contents);
            let name = u32::try_from(names.len()).unwrap();
            names.extend(section.name.bytes().chain([0]));
            let kind = if is_wide || section.kind != 4 { section.kind } else { 9 };
            headers.extend(name.to_le_bytes());
            headers.extend(kind.to_le_bytes());
            let length = section.contents.len() as u64;
            headers.extend(words(&[section.flags, ADDRESS + offset, offset, length]));
            headers.resize(headers.len().next_multiple_of(section_header), 0);
        }
        names.resize(names.len() + 32, 0);
        let offset = bytes.len() as u64;
        headers.extend([0, 0, 0, 0, 3, 0, 0, 0]);
        headers.extend(words(&[0, 0, offset, names.len() as u64]));
        headers.resize(headers.len().next_multiple_of(section_header), 0);
        bytes.extend(names);
        bytes.resize(bytes.len().next_multiple_of(8), 0);

        let sections = bytes.len();
        let count = headers.len() / section_header;
        bytes.extend(headers);
        let end = bytes.len() as u64;
        let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        header[4] = if is_wide { 2 } else { 1 };
        header.extend(halves(&[3, machine, 1, 0]));
        header.extend(words(&[0, file_header as u64, sections as u64]));
        header.extend([0; 4]);
        let half = |number: usize| u16::try_from(number).unwrap();
        let sizes = [half(file_header), half(program_header), 1, half(section_header)];
        header.extend(halves(&sizes));
        header.extend(halves(&[half(count), half(count - 1)]));
        // Type, flags: 1, all; they stand apart in 32-bit files.
        let program = match is_wide {
            true => words(&[1 | 7 << 32, 0, ADDRESS, ADDRESS, end, end, 0x1000]),
            false => words(&[1, 0, ADDRESS, ADDRESS, end, end, 7, 0x1000]),
        };
        bytes[..file_header].copy_from_slice(&header);
        bytes[file_header..][..program_header].copy_from_slice(&program);
        let programs = file_header + program_header;
        Built { headers: [0..file_header, file_header..programs, sections..bytes.len()], bytes }
    }
}
