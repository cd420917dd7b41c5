//! Compiles `tercet/v1/*.proto` with protox, so that no protoc needs to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 3] = [
    "tercet/v1/types.proto",
    "tercet/v1/coordinator.proto",
    "tercet/v1/participant.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=tercet");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("tercet.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".tercet.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
