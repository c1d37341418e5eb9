//! The program that holds the network of an instance with several containers, and its image. It is made here, so that
//! nothing is pulled for it: it waits, and does nothing else.

/// Name of its image in the engine.
pub(super) const IMAGE: &str = "quarterdeck.local/network";
/// Its tag. Another program would be another one.
pub(super) const TAG: &str = "1";
/// Where it is in its image.
pub(super) const PATH: &str = "/pause";

/// `pause()` for ever: mov eax, 34; syscall; jmp -9.
const X86_64: &[u8] = &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
/// `ppoll(NULL, 0, NULL, NULL)` for ever, as there is no `pause` on this one: mov x8, 73; mov x0–x3, 0; svc 0; b -24.
const AARCH64: &[u8] = &[
    0x28, 0x09, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2,
    0x03, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, 0xfa, 0xff, 0xff, 0x17,
];

/// Where Linux is told to put it.
const BASE: u64 = 0x0040_0000;
/// Sizes of the two headers.
const HEADERS: u64 = 64 + 56;

/// The program as a file (System V ABI, "Object Files" and "Program Loading").
fn program() -> Option<Vec<u8>> {
    let (machine, code): (u16, &[u8]) = match std::env::consts::ARCH {
        "x86_64" => (62, X86_64),
        "aarch64" => (183, AARCH64),
        _ => return None,
    };
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::new();
    // 64 bits, little-endian, version 1.
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend((BASE + HEADERS).to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    for number in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    // One segment: the whole file, to be read and run.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for number in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(number.to_le_bytes());
    }
    file.extend(code);
    Some(file)
}

/// The image as what `docker import` takes: a tar archive of one file (POSIX ustar). Without it this kind of processor
/// has no such program.
pub(super) fn archive() -> Option<Vec<u8>> {
    let program = program()?;
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| {
        header.iter_mut().skip(at).zip(text).for_each(|(to, from)| *to = *from);
    };
    put(0, PATH.trim_start_matches('/').as_bytes());
    put(100, b"0000755\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", program.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    header.iter_mut().skip(148).zip(sum.as_bytes()).for_each(|(to, from)| *to = *from);
    let mut archive = header.to_vec();
    archive.extend(&program);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    Some(archive)
}
