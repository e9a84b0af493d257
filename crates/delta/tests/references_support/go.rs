//! A program with the tables that Go's linker writes (`src/runtime/symtab.go`, `src/internal/abi/symtab.go` of Go 1.20,
//! and what programs made by 1.19, 1.26 and 1.27 have).

use delta::references::Machine;

use super::{ElfBuilder, FIRST_SECTION, Section};

/// A function: what its code is made of, and how long it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    pub(crate) seed: u32,
    pub(crate) length: usize,
}

/// Versions of Go whose tables differ.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Version {
    Go119,
    Go120,
    Go126,
    Go127,
}

impl Version {
    pub(crate) const ALL: [Self; 4] = [Self::Go119, Self::Go120, Self::Go126, Self::Go127];

    /// Which word of the module says where functions' data is.
    fn data_word(self) -> usize {
        match self {
            Self::Go119 => 38,
            Self::Go120 | Self::Go126 => 40,
            Self::Go127 => 43,
        }
    }

    /// Whether the table has functions' data, and does not say where the code is.
    fn has_data_in_table(self) -> bool {
        self >= Self::Go126
    }
}

/// Bytes that are no code, different for each seed.
fn bytes(seed: u32, length: usize) -> Vec<u8> {
    let mixed = |i: u32| (seed.wrapping_mul(2_654_435_761) ^ i).wrapping_mul(0x85eb_ca6b) >> 24;
    (0..).map(|i| mixed(i).to_le_bytes()[0] & 0x3f).take(length).collect()
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap()
}

/// A part of the program, with where its functions' are.
#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Part {
    fn add(&mut self, bytes: &[u8]) {
        self.starts.push(narrow(self.bytes.len()));
        self.bytes.extend(bytes);
    }
}

pub(crate) fn program(version: Version, functions: &[Function]) -> Vec<u8> {
    let [mut code, mut names, mut places, mut data] = [(); 4].map(|()| Part::default());
    // 0 stands for no table.
    places.bytes.push(0);
    for function in functions {
        code.add(&bytes(function.seed, function.length.next_multiple_of(16)));
        names.add(format!("main.function{}\0", function.seed).as_bytes());
        places.add(&bytes(!function.seed, 9 + function.seed as usize % 7));
        data.add(&bytes(function.seed ^ 0xffff, 12));
    }
    let after = |start: u64, length: usize| (start + length as u64).next_multiple_of(16);
    let code_at = FIRST_SECTION;
    let constants_at = after(code_at, code.bytes.len());
    let table_at = after(constants_at, data.bytes.len());

    const HEADER_BYTES: usize = 8 + 8 * 8;
    let places_at = HEADER_BYTES + names.bytes.len();
    let index_at = (places_at + places.bytes.len()).next_multiple_of(8);
    let mut table = b"\xf1\xff\xff\xff\0\0\x01\x08".to_vec();
    table[0] = if version == Version::Go119 { 0xf0 } else { 0xf1 };
    let code_word = if version.has_data_in_table() { 0 } else { code_at };
    let offsets = [HEADER_BYTES, 0, 0, places_at, index_at].map(|offset| offset as u64);
    let words = [functions.len() as u64, 0, code_word].into_iter().chain(offsets);
    words.for_each(|word| table.extend(word.to_le_bytes()));
    table.extend(names.bytes.iter().chain(&places.bytes));
    table.resize(index_at, 0);
    let head_words = if version == Version::Go119 { 10 } else { 11 };
    let first = narrow(8 * functions.len() + 8);
    for (start, number) in code.starts.iter().zip(0..) {
        table
            .extend([*start, first + number * 4 * (head_words + 4)].map(u32::to_le_bytes).concat());
    }
    table.extend([0; 8]);
    for (i, function) in functions.iter().enumerate() {
        // The size of its arguments, and where it returns after a panic; its line. They tell functions apart.
        let own =
            |i: u32| bytes(function.seed ^ i << 16, 4).try_into().map(u32::from_le_bytes).unwrap();
        let place = places.starts[i];
        let head =
            [code.starts[i], names.starts[i], own(1), own(2), place, place + 1, place + 2, 2];
        head.into_iter().for_each(|number| table.extend(number.to_le_bytes()));
        // Its unit and line; what it is, and how much data it has. Of two tables by place one is none, as is one of data.
        let tail = [7, own(3), 2 << 24, place + 3, 0, data.starts[i], u32::MAX];
        let has_line = version != Version::Go119;
        let tail = tail.into_iter().enumerate().filter(|(i, _)| has_line || *i != 1);
        tail.for_each(|(_, number)| table.extend(number.to_le_bytes()));
    }
    let (mut data_at, mut constants) = (constants_at, data.bytes);
    if version.has_data_in_table() {
        data_at = table_at + table.len() as u64;
        table.extend(&constants);
        constants = bytes(u32::MAX, constants.len());
    }

    let mut module = vec![0; 44];
    (module[0], module[1], module[22]) = (table_at, table_at + HEADER_BYTES as u64, code_at);
    module[version.data_word()] = data_at;
    let module = module.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    ElfBuilder::new(Machine::X86_64)
        .section(Section::code(code.bytes))
        .section(Section::of_kind(7, constants))
        .section(Section::of_kind(9, table))
        .section(Section::of_kind(5, module))
        .build()
        .bytes
}
