//! Signed archives, and the small files of a device: keys, signatures, policies, lists of parts.

use std::path::Path;

use silt::parts::PartList;
use silt::policy::Policy;
use silt::signing::{PublicKey, SecretKeyFile, Signature};
use tarball::archive::{PartFile, SignedIndex};
use tarball::{Archive, PlatformChoice};
use xxhash_rust::xxh3::xxh3_64;

use crate::archives::{limits, memory_file, read_layers};
use crate::reframe;

/// The bytes as a signed archive, as they are and with right tar checksums.
pub(crate) fn archive(data: &[u8]) {
    check(data);
    let reframed = reframe::tar(data);
    if reframed != data {
        check(&reframed);
    }
}

/// What is accepted has no byte beside the index and its signature that could be another.
fn check(data: &[u8]) {
    let Some(accepted) = open(data) else { return };
    assert!(open(&data[..data.len() - 1]).is_none(), "a shorter one is accepted");
    assert!(open(&[data, &[0]].concat()).is_none(), "a longer one is accepted");
    let at = usize::try_from(xxh3_64(data) % data.len() as u64).unwrap_or(0);
    let mut changed = data.to_vec();
    changed[at] ^= 1;
    if let Some(other) = open(&changed) {
        assert_ne!(other, accepted, "byte {at} is covered by nothing");
    }
}

/// Index and signature of an archive that is as it should be.
fn open(data: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let file = PartFile::of(vec![memory_file(data)]).ok()?;
    let signed = SignedIndex::read(&file).ok()??;
    let covered = (signed.index.clone(), signed.signature.clone());
    let (path, choice) = (Path::new("input.tar"), PlatformChoice::default());
    let archive = Archive::open_signed(file, signed, path, &choice, &limits(), &mut |_| Ok(()));
    read_layers(&archive.ok()?);
    Some(covered)
}

/// A key, a signature, a policy or a list of parts.
pub(crate) fn device_files(data: &[u8]) {
    if let Ok(signature) = Signature::parse(data) {
        let text = signature.to_text();
        assert_eq!(Signature::parse(text.as_bytes()), Ok(signature.clone()));
        assert!(!signature.is_exactly(data) || text.as_bytes() == data);
    }
    if let Ok(key) = PublicKey::parse(data) {
        assert_eq!(PublicKey::parse(key.to_text().as_bytes()).map(|again| again.id), Ok(key.id));
    }
    if let Ok(file) = SecretKeyFile::parse(data)
        && !file.is_encrypted()
        && let Ok(key) = file.unlock(None)
    {
        let public = key.public_key("");
        assert_eq!(key.sign(b"document", "comment").verify(&public, b"document"), Ok(()));
    }
    if let Ok(list) = PartList::parse(data) {
        assert_eq!(list.bytes, list.parts.iter().map(|part| part.bytes).sum::<u64>());
        assert!(list.parts.iter().all(|part| !part.file.contains('/')));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let why = Policy::parse(text).err().unwrap_or_default();
        assert!(!why.contains('\n'), "{why:?}");
    }
}
