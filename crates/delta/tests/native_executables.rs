//! Executables in native deltas: with covers that are told where they come, beside those of the map, and
//! compiled modules of Python.

// A slice is unsized and cannot become a trait object.
#![allow(clippy::ptr_arg)]

use delta::by_file::{Aim, FileIndex, MatchOptions, match_layer};
use delta::native::{Compression, EncodeOptions, LayerDecoder, Limits, Origin, encode};
use delta::read_at::ReadAt;
use delta::references::{Machine, RegionCover};
use delta::region::{Content, References, Region, Transform};
use delta::{Effort, OriginId};
use proptest::prelude::*;

#[allow(dead_code)]
mod references_support;
use references_support::{ElfBuilder, Section, go};

const LIMITS: Limits = Limits { memory_bytes: 16 << 20, output_bytes: 64 << 20 };

/// Calls, one after another, to places all over the text; some bytes are no code.
fn code(calls: u32, seed: u32) -> Vec<u8> {
    let call = |i: u32| {
        let mixed = i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8;
        let target = mixed % (calls * 8);
        let operand = target.wrapping_sub(i * 8 + 5).to_le_bytes();
        [&[0xe8][..], &operand, &mixed.to_le_bytes()[..3]].concat()
    };
    (0..calls).flat_map(call).collect()
}

fn elf(text: Vec<u8>) -> Vec<u8> {
    ElfBuilder::new(Machine::X86_64).section(Section::code(text)).build().bytes
}

/// What may be between pieces: text, and instructions with operands of all sorts that are apart, and of some that are not.
const LITERALS: [&[u8]; 13] = [
    // Whatever came before, instructions begin again.
    &[0x90; 8],
    // call n; jmp n; je n; the same with operands of two bytes
    &[0xe8, 1, 2, 3, 4],
    &[0xe9, 0xf0, 0xff, 0xff, 0xff],
    &[0x0f, 0x84, 1, 2, 0, 0],
    &[0x0f, 0x8f, 1, 0xff, 0xff, 0xff],
    &[0x66, 0xe8, 1, 2],
    // lea rax, [rip+n]; cmp byte [rip+n], 1; mov dword [rip+n], n; mov word [rip+n], n
    &[0x48, 0x8d, 0x05, 9, 8, 7, 6],
    &[0x80, 0x3d, 0, 1, 0, 0, 1],
    &[0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8],
    &[0x66, 0xc7, 0x05, 1, 2, 3, 4, 5, 6],
    // mov eax, [rsp+n]; mov eax, [n]
    &[0x8b, 0x84, 0x24, 1, 2, 3, 4],
    &[0x8b, 0x04, 0x25, 1, 2, 3, 4],
    b"literals",
];

/// An executable made of pieces of `old`: literals before each, the piece's start and length, and whether
/// it is on the map.
fn made_of(old: &[u8], pieces: &[Piece]) -> (Vec<u8>, References) {
    made_with(Machine::X86_64, &LITERALS.concat(), old, pieces)
}

type Piece = (usize, usize, usize, bool);

/// The same for any machine, of what may be between pieces.
fn made_with(
    machine: Machine,
    between: &[u8],
    old: &[u8],
    pieces: &[Piece],
) -> (Vec<u8>, References) {
    let (mut new, mut covers, mut unmapped) = (Vec::new(), Vec::new(), Vec::new());
    for (i, &(literals, start, length, is_mapped)) in pieces.iter().enumerate() {
        new.extend(between.iter().cycle().take(literals));
        let start = start % old.len();
        let length = length.min(old.len() - start);
        let narrow = |number: usize| u32::try_from(number).unwrap();
        let (target, old_start) = (narrow(new.len()), narrow(start));
        let cover = RegionCover { target, old: old_start, length: narrow(length) };
        if is_mapped {
            covers.push(cover)
        } else {
            unmapped.push(cover)
        }
        new.extend(&old[start..start + length]);
        // Something is unequal.
        let last = new.len() - 1;
        new[last] ^= u8::from(i % 3 == 0);
    }
    new.extend(between);
    let references = References {
        machine,
        origin: OriginId(0),
        old: 0..old.len() as u64,
        parameters: [vec![0, 1], vec![0; 4]].concat(),
        covers,
        unmapped,
    };
    (new, references)
}

const LZMA: Compression = Compression::Lzma2 { preset: 1 };
const MIXED: Compression = Compression::Mixed { preset: 1 };
const MIXED_BUT_ARM: Compression = Compression::MixedButArm { preset: 1 };

fn delta_of(old: &Vec<u8>, target: &Vec<u8>, content: &Content) -> Vec<u8> {
    coded(old, target, content, LZMA)
}

fn coded(old: &Vec<u8>, target: &Vec<u8>, content: &Content, compression: Compression) -> Vec<u8> {
    reported(old, target, content, compression).0
}

/// A delta, and what its streams have.
fn reported(
    old: &Vec<u8>,
    target: &Vec<u8>,
    content: &Content,
    compression: Compression,
) -> (Vec<u8>, Vec<u64>) {
    let origin = Origin::Layer { diff_id: [0; 32], size: old.len() as u64 };
    let options =
        EncodeOptions { compression, memory_bytes: 16 << 20, compress_memory_bytes: 256 << 20 };
    let mut delta = Vec::new();
    let report = encode(target, [7; 32], &[(origin, old)], content, &options, &mut delta).unwrap();
    (delta, report.stream_bytes.to_vec())
}

/// What a delta makes, and what it was noted to say.
fn apply(delta: &[u8], old: &Vec<u8>) -> (Vec<u8>, Content) {
    let mut decoder = LayerDecoder::new(delta, &LIMITS).unwrap();
    decoder.record(1 << 28);
    let mut made = Vec::new();
    while decoder.next_frame(&[old], &mut made).unwrap().is_some() {}
    (made, decoder.into_content())
}

/// A delta makes the new bytes, and says what it was made of.
fn comes_back(old: &Vec<u8>, new: &Vec<u8>, content: &Content, compression: Compression) {
    let (made, noted) = apply(&coded(old, new, content, compression), old);
    assert!(made == *new);
    assert_eq!(noted.regions, content.regions);
}

fn region(start: usize, end: usize, references: References) -> Content {
    let target = start as u64..end as u64;
    let transform = Transform::References(references);
    Content { regions: vec![Region { target, transform }], ..Content::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn covers_beside_the_map_come_back(
        pieces in prop::collection::vec(
            (prop_oneof![Just(0), 0usize..40], 0usize..9000, 1usize..400, any::<bool>()), 1..40),
    ) {
        let old = elf(code(1000, 0));
        let (new, references) = made_of(&old, &pieces);
        let target = [b"before", &new[..], b"after"].concat();
        let content = region(6, 6 + new.len(), references);
        for compression in [LZMA, MIXED] {
            let (made, noted) = apply(&coded(&old, &target, &content, compression), &old);
            prop_assert!(made == target);
            prop_assert_eq!(&noted.regions, &content.regions);
        }
    }
}

/// More than a frame holds, with frames that end in literals, between pieces and before covers.
#[test]
fn frames_end_wherever_they_do() {
    let old = elf(code(60_000, 0));
    let pieces: Vec<_> = (0..30_000usize)
        .map(|i| (i * 7 % 150, i * 7919, 1 + i * 13 % 90, i % 10 == 0))
        .chain([(3 << 20, 0, 400_000, false), (0, 17, 400_000, true), (1, 5, 100, false)])
        .collect();
    let (new, references) = made_of(&old, &pieces);
    let content = region(0, new.len(), references);
    for compression in [LZMA, MIXED] {
        let (made, noted) = apply(&coded(&old, &new, &content, compression), &old);
        assert!(made == new);
        assert!(noted.regions == content.regions);
    }
}

const VECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors/silt-1");

fn vector() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let old = elf(code(300, 0));
    let pieces = [(3, 0, 700, true), (0, 900, 20, false), (5, 930, 300, false), (0, 64, 900, true)];
    let (new, references) = made_of(&old, &pieces);
    let content = region(0, new.len(), references);
    let delta = delta_of(&old, &new, &content);
    (old, new, delta)
}

/// Runs of literals at the start of the file, within code after whole instructions and after opcodes, of which some have no
/// room for operands, and after code.
fn operands() -> (Vec<u8>, Vec<u8>, Content) {
    let old = elf(code(300, 0));
    let text = old.windows(16).position(|bytes| bytes == &code(300, 0)[..16]).unwrap();
    let pieces = [
        (20, 0, 400, true),
        (94, text + 256, 40, true),
        (4, text + 320, 41, false),
        (4, text + 400, 48, true),
        (5, text + 480, 41, false),
        (38, text + 560, 41, true),
        (3, text + 640, 49, true),
        (94, text + 720, 1600, false),
    ];
    let (new, references) = made_of(&old, &pieces);
    let content = region(0, new.len(), references);
    (old, new, content)
}

#[test]
fn operands_of_literals_have_streams_of_their_own() {
    let (old, new, content) = operands();
    let zstd = Compression::Zstd { level: 3 };
    for (compression, are_apart) in
        [(LZMA, true), (zstd, true), (MIXED, false), (MIXED_BUT_ARM, false)]
    {
        let (delta, stream_bytes) = reported(&old, &new, &content, compression);
        let operands = &stream_bytes[12..15];
        assert!(operands.iter().all(|bytes| (*bytes > 0) == are_apart), "{operands:?}");
        assert!(apply(&delta, &old).0 == new);
    }
}

#[test]
fn the_vector_of_operands_is_read() {
    let references = references_of("operands");
    assert_eq!((references.covers.len(), references.unmapped.len()), (5, 3));
}

/// Code of ARM, and what may be new in it: instructions with operands that are apart, and others.
fn code_of_arm() -> [(Machine, Vec<u8>, Vec<u8>); 3] {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect();
    // bl back and ahead; b; b.ne; cbz; tbz; adrp back and ahead; adr; ldr, of a place; add; ret
    let a64 = [
        0x97ff_fff6,
        0x9400_0123,
        0x17ff_ffff,
        0x5400_0041,
        0xb4ff_ffe3,
        0x3608_0045,
        0xf0ff_ffe0,
        0x9000_0081,
        0x1000_0042,
        0x5800_0041,
        0x9100_4021,
        0xd65f_03c0,
    ];
    // bl back; blne; b; beq; blx, to Thumb; ldr, of a place; mov; movw; bx
    let a32 = [
        0xebff_fff6,
        0x1b00_0010,
        0xeaff_fffe,
        0x0a00_0001,
        0xfaff_fff6,
        0xe59f_e004,
        0xe1a0_1002,
        0xe302_3345,
        0xe12f_ff1e,
    ];
    // movs; bl; adds; blx; b.w; beq.w; movw; b; bx
    let thumb = [
        0x2001, 0xf7ff, 0xffda, 0x1c49, 0xf7ff, 0xefda, 0xf000, 0xb812, 0xf000, 0x807e, 0xf242,
        0x33c8, 0xe7fe, 0x4770,
    ];
    [
        (Machine::Aarch64, words(&[0xd503_201f; 500]), words(&a64)),
        (Machine::Arm, words(&[0xe1a0_0000; 500]), words(&a32)),
        (Machine::Arm, halves(&[0xbf00; 1000]), halves(&thumb)),
    ]
}

/// Executables of ARM with runs of literals at the start of the file, within code at all places of a word, some of them shorter
/// than an instruction, and after code.
fn units() -> (Vec<u8>, Vec<u8>, Content) {
    let (mut olds, mut news, mut content) = (Vec::new(), Vec::new(), Content::default());
    for (machine, code, between) in code_of_arm() {
        let old = ElfBuilder::new(machine).section(Section::code(code.clone())).build().bytes;
        let text = old.windows(64).position(|bytes| bytes == &code[..64]).unwrap();
        let pieces = [
            (20, 0, text + 100, true),
            (52, text + 100, 61, true),
            (47, text + 200, 62, false),
            (2, text + 300, 64, true),
            (3, text + 400, 63, false),
            (50, text + 500, 64, true),
            (5, text + 600, 1000, false),
        ];
        let (new, mut references) = made_with(machine, &between, &old, &pieces);
        references.old = olds.len() as u64..(olds.len() + old.len()) as u64;
        let target = news.len() as u64..(news.len() + new.len()) as u64;
        content.regions.push(Region { target, transform: Transform::References(references) });
        olds.extend(old);
        news.extend(new);
    }
    (olds, news, content)
}

#[test]
fn words_and_halfwords_of_arm_have_streams_of_their_own() {
    let (old, new, content) = units();
    let zstd = Compression::Zstd { level: 3 };
    for (compression, are_apart) in
        [(LZMA, true), (zstd, true), (MIXED, false), (MIXED_BUT_ARM, true)]
    {
        let (delta, stream_bytes) = reported(&old, &new, &content, compression);
        let apart = &stream_bytes[12..];
        assert!(apart.iter().all(|bytes| (*bytes > 0) == are_apart), "{apart:?}");
        let (made, noted) = apply(&delta, &old);
        assert!(made == new);
        assert_eq!(noted.regions, content.regions);
    }
}

/// More than a frame holds, so that frames end within runs.
#[test]
fn frames_end_between_instructions() {
    for (machine, code, between) in code_of_arm() {
        let old = ElfBuilder::new(machine).section(Section::code(code)).build().bytes;
        let pieces = [(9, 0, old.len(), true), (3 << 20, 64, 100, false), (5, 170, 50, true)];
        let (new, references) = made_with(machine, &between, &old, &pieces);
        let content = region(0, new.len(), references);
        for compression in [LZMA, MIXED_BUT_ARM] {
            comes_back(&old, &new, &content, compression);
        }
    }
}

/// Executables for x86-64 and for ARM with new code: of the first operands are apart where literals are not mixed.
fn operands_and_units() -> (Vec<u8>, Vec<u8>, Content) {
    let (mut old, mut new, mut content) = operands();
    let (old_units, new_units, units) = units();
    for mut region in units.regions {
        let Transform::References(references) = &mut region.transform else { panic!() };
        references.old.start += old.len() as u64;
        references.old.end += old.len() as u64;
        region.target.start += new.len() as u64;
        region.target.end += new.len() as u64;
        content.regions.push(region);
    }
    old.extend(old_units);
    new.extend(new_units);
    (old, new, content)
}

#[test]
fn code_of_several_machines_is_in_one_delta() {
    let (old, new, content) = operands_and_units();
    for compression in [LZMA, MIXED, MIXED_BUT_ARM] {
        comes_back(&old, &new, &content, compression);
    }
}

/// All of one halfword: where a frame ends after one, what comes in the next is not known yet.
#[test]
fn frames_end_after_single_halfwords() {
    let [_, _, (machine, code, _)] = code_of_arm();
    let old = ElfBuilder::new(machine).section(Section::code(code.clone())).build().bytes;
    let text = old.windows(64).position(|bytes| bytes == &code[..64]).unwrap();
    let between: Vec<u8> = (0..=255).flat_map(|low| [low, 0x20]).collect();
    for odd in [0, 2] {
        let pieces = [(0, 0, text + 256, true), (1_400_000 + odd, text, 100, false)];
        let (new, references) = made_with(machine, &between, &old, &pieces);
        let content = region(0, new.len(), references);
        comes_back(&old, &new, &content, LZMA);
    }
}

#[test]
fn the_vectors_of_units_are_read() {
    use Machine::{Aarch64, Arm, X86_64};
    let machine = |region: &Region| match &region.transform {
        Transform::References(references) => references.machine,
        other => panic!("{other:?}"),
    };
    let machines = |content: Content| content.regions.iter().map(machine).collect::<Vec<_>>();
    assert_eq!(machines(content_of("units")), [Aarch64, Arm, Arm]);
    assert_eq!(machines(content_of("mixed-units")), [X86_64, Aarch64, Arm, Arm]);
}

/// Reads a vector of the specification; what its delta says.
fn content_of(vector: &str) -> Content {
    let read = |what: &str| std::fs::read(format!("{VECTOR}/{vector}-{what}")).unwrap();
    let (made, content) = apply(&read("delta.silt"), &read("base"));
    assert!(made == read("target"));
    content
}

/// What a vector is made of that is one executable.
fn references_of(vector: &str) -> References {
    match content_of(vector).regions.remove(0).transform {
        Transform::References(references) => references,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_vector_of_the_specification_is_read() {
    let references = references_of("covers");
    assert_eq!((references.covers.len(), references.unmapped.len()), (2, 2));
}

/// Two versions of a module, and what their delta is made of.
fn module() -> (Vec<u8>, Vec<u8>, Content) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/modules");
    let read = |name: &str| std::fs::read(format!("{folder}/3.11.{name}.pyc")).unwrap();
    let (old, new) = (tar_of(&read("old")), tar_of(&read("new")));
    let content = matched(&old, &new, 1 << 20, Effort::Default);
    (old, new, content)
}

#[test]
fn a_module_of_python_is_a_region() {
    let (old, new, content) = module();
    let [Region { transform: Transform::References(references), .. }] = &content.regions[..] else {
        panic!("{content:?}")
    };
    assert_eq!(references.machine, Machine::Python);
    let delta = delta_of(&old, &new, &content);
    let (made, noted) = apply(&delta, &old);
    assert!(made == new);
    assert_eq!(noted.regions, content.regions);
    let plain = delta_of(&old, &new, &matched(&old, &new, 0, Effort::Default));
    assert!(delta.len() + 32 < plain.len(), "{} {}", delta.len(), plain.len());
}

#[test]
fn the_vector_of_a_module_is_read() {
    let references = references_of("module");
    assert_eq!((references.machine, references.parameters.len()), (Machine::Python, 0));
}

/// Five executables for 32-bit ARM, of all sorts of code.
fn arm() -> (Vec<u8>, Vec<u8>, Content) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/executables");
    let names = ["armv6", "armv7-thumb", "armv6-fixed", "armv7-fixed", "armv7-thumb-fixed"];
    let tar_of_all = |side: &str| {
        let read = |name: &&str| std::fs::read(format!("{folder}/{name}.{side}")).unwrap();
        tar_of_files(&names.map(|name| (name, read(&name))))
    };
    let (old, new) = (tar_of_all("old"), tar_of_all("new"));
    let content = matched(&old, &new, 1 << 20, Effort::Default);
    (old, new, content)
}

/// Two versions of programs with the tables of Go's.
fn go_program() -> (Vec<u8>, Vec<u8>, Content) {
    let function = |seed: u32| go::Function { seed, length: 60 + seed as usize * 37 % 100 };
    let versions = [("go1.20", go::Version::Go120, 0), ("go1.27", go::Version::Go127, 1000)];
    let tar_of_both = |is_new: bool| {
        tar_of_files(&versions.map(|(name, version, seed)| {
            let mut functions: Vec<_> = (seed..seed + 40).map(function).collect();
            if is_new {
                functions.splice(5..6, [function(seed + 100), function(seed + 101)]);
                functions[30].length += 40;
            }
            (name, go::program(version, &functions))
        }))
    };
    let (old, new) = (tar_of_both(false), tar_of_both(true));
    let content = matched(&old, &new, 1 << 20, Effort::Default);
    (old, new, content)
}

#[test]
fn the_vector_of_go_is_read() {
    assert_eq!(machines(&content_of("go")), [Machine::X86_64; 2]);
}

/// Of what machines the executables are that a delta makes.
fn machines(content: &Content) -> Vec<Machine> {
    let machine = |region: &Region| match &region.transform {
        Transform::References(references) => Some(references.machine),
        _ => None,
    };
    content.regions.iter().filter_map(machine).collect()
}

#[test]
fn all_code_of_32_bit_arm_is_predicted() {
    let (old, new, content) = arm();
    assert_eq!(machines(&content), [Machine::Arm; 5]);
    let delta = delta_of(&old, &new, &content);
    let (made, noted) = apply(&delta, &old);
    assert!(made == new);
    assert_eq!(noted.regions, content.regions);
    let plain = delta_of(&old, &new, &matched(&old, &new, 0, Effort::Default));
    assert!(delta.len() * 3 < plain.len() * 2, "{} {}", delta.len(), plain.len());
}

#[test]
fn the_vector_of_32_bit_arm_is_read() {
    assert_eq!(machines(&content_of("arm")), [Machine::Arm; 5]);
}

/// Writes the vectors anew: only for a new version of the format.
#[test]
#[ignore = "writes testdata"]
fn write_the_vectors() {
    let (old, new, delta) = vector();
    let (old_module, new_module, content) = module();
    let module_delta = delta_of(&old_module, &new_module, &content);
    let (old_arm, new_arm, content) = arm();
    let arm_delta = delta_of(&old_arm, &new_arm, &content);
    let (old_go, new_go, content) = go_program();
    let go_delta = delta_of(&old_go, &new_go, &content);
    let (old_operands, new_operands, content) = operands();
    let operands_delta = delta_of(&old_operands, &new_operands, &content);
    let (old_units, new_units, content) = units();
    let units_delta = delta_of(&old_units, &new_units, &content);
    let (old_mixed, new_mixed, content) = operands_and_units();
    let mixed_delta = coded(&old_mixed, &new_mixed, &content, MIXED_BUT_ARM);
    let files = [
        ("mixed-units-delta.silt", mixed_delta),
        ("mixed-units-base", old_mixed),
        ("mixed-units-target", new_mixed),
        ("units-delta.silt", units_delta),
        ("units-base", old_units),
        ("units-target", new_units),
        ("operands-delta.silt", operands_delta),
        ("operands-base", old_operands),
        ("operands-target", new_operands),
        ("go-delta.silt", go_delta),
        ("go-base", old_go),
        ("go-target", new_go),
        ("arm-delta.silt", arm_delta),
        ("arm-base", old_arm),
        ("arm-target", new_arm),
        ("covers-delta.silt", delta),
        ("covers-base", old),
        ("covers-target", new),
        ("module-delta.silt", module_delta),
        ("module-base", old_module),
        ("module-target", new_module),
    ];
    for (name, bytes) in files {
        std::fs::write(format!("{VECTOR}/{name}"), bytes).unwrap();
    }
}

fn tar_of(contents: &[u8]) -> Vec<u8> {
    tar_of_files(&[("program", contents.to_vec())])
}

fn tar_of_files(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, name, &contents[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// How a layer is matched with another in little memory.
fn matched(old: &Vec<u8>, new: &Vec<u8>, region_bytes: u64, effort: Effort) -> Content {
    let index = FileIndex::build(&[old as &dyn ReadAt], &[new]).unwrap();
    let options = MatchOptions {
        // The lists of files take some of it.
        memory_bytes: (14 << 20) + 512,
        aim: Aim::Differences,
        region_bytes,
        largest_region_bytes: region_bytes,
        effort,
    };
    match_layer(new, &index, &options).unwrap()
}

/// An executable that the memory is not enough for is worked on in windows, and its references are
/// predicted all the same.
#[test]
fn a_large_executable_is_predicted_in_little_memory() {
    const CALLS: u32 = 400_000;
    // Every so often eight bytes more: all calls across move by other distances.
    let more = |i: u32| i % 1000 == 999;
    let starts: Vec<u32> = (0..CALLS)
        .scan(0, |at, i| {
            let start = *at;
            *at += if more(i) { 16 } else { 8 };
            Some(start)
        })
        .collect();
    let old_code = code(CALLS, 0);
    let mut new_code = Vec::new();
    for (i, call) in (0..).zip(old_code.chunks(8)) {
        let operand = u32::from_le_bytes(call[1..5].try_into().unwrap());
        let target = operand.wrapping_add(i * 8 + 5);
        let start = starts[usize::try_from(i).unwrap()];
        let moved = starts[usize::try_from(target / 8).unwrap()] + target % 8;
        new_code.push(0xe8);
        new_code.extend(moved.wrapping_sub(start + 5).to_le_bytes());
        // Right after a call: what is between them is no code, and instructions after it would not be followed.
        if more(i) {
            new_code.extend([0x90; 8]);
        }
        new_code.extend(&call[5..]);
    }
    let (old, new) = (tar_of(&elf(old_code)), tar_of(&elf(new_code)));
    for effort in [Effort::Fast, Effort::Default] {
        let content = matched(&old, &new, 5 << 20, effort);
        let [region] = &content.regions[..] else { panic!("{:?}", content.regions.len()) };
        assert!(region.resident_bytes() <= 5 << 20);
        let delta = delta_of(&old, &new, &content);
        assert!(apply(&delta, &old).0 == new);
        let plain = delta_of(&old, &new, &matched(&old, &new, 0, effort));
        assert!(delta.len() * 16 < plain.len(), "{} {}", delta.len(), plain.len());
    }
}
