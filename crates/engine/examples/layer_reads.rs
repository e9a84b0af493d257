//! Reads an engine's layers at random places and compares them with those of an archive.
//!
//!     layer_reads docker|podman|containerd NAME ARCHIVE COUNT
//!
//! COUNT reads of up to 64 KiB are spread over all layers that the archive holds uncompressed.

use std::error::Error;
use std::path::{Path, PathBuf};

use engine::{EngineKind, Where};
use tarball::{Archive, Name, PlatformChoice, ReadLimits};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, name, archive, count] = arguments.as_slice() else {
        return Err("layer_reads docker|podman|containerd NAME ARCHIVE COUNT".into());
    };
    let kind = match kind.as_str() {
        "docker" => EngineKind::Docker,
        "podman" => EngineKind::Podman,
        _ => EngineKind::Containerd,
    };
    let place = Where {
        docker_host: std::env::var("DOCKER_HOST").ok(),
        containerd_address: std::env::var_os("CONTAINERD_ADDRESS").map(PathBuf::from),
        ..Where::default()
    };
    let engine = engine::open(kind, &place)?;
    let name: Name = name.parse()?;
    let images = engine.images()?;
    let image = images.iter().find(|image| image.names.contains(&name)).ok_or("no such image")?;
    let path = Path::new(archive);
    let file = std::fs::File::open(path)?;
    let limits = ReadLimits::default();
    let archive = Archive::open_file(file, path, &PlatformChoice::Host, &limits)?;
    let archived = archive.images().iter().find(|it| it.config.id == image.id);
    let archived = archived.ok_or("the archive has another image")?;
    let count: u64 = count.parse()?;
    let mut random = Random(count);
    let (mut reads, mut bytes) = (0u64, 0u64);
    let layers: Vec<_> = archived.layers.iter().enumerate().collect();
    for (index, layer) in &layers {
        let (plain, start) = archive.plain_layer(layer).ok_or("the archive is compressed")?;
        let found = engine.layer(image, *index)?;
        let size = layer.stored.map_or(0, |stored| stored.bytes);
        if found.size_bytes() != size {
            return Err(
                format!("layer {index} has {} bytes, not {size}", found.size_bytes()).into()
            );
        }
        for _ in 0..count.div_ceil(layers.len() as u64) {
            let at = random.next() % size;
            let length = (random.next() % (64 << 10)).min(size - at);
            let length = usize::try_from(length)?;
            let (mut expected, mut read) = (vec![0; length], vec![0; length]);
            plain.read_exact_at(&mut expected, start + at)?;
            found.read_exact_at(&mut read, at)?;
            if expected != read {
                return Err(format!("layer {index} differs at {at}, {length} bytes").into());
            }
            reads += 1;
            bytes += length as u64;
        }
    }
    say(&format!("{reads} reads, {bytes} bytes, {} layers\n", layers.len()))?;
    Ok(())
}

fn say(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes())
}

/// xorshift64*: the same places each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
