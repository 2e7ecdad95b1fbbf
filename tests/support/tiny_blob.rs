//! The smallest blob that the product reads: for compilers that are made up.

/// Returns a small blob with one U8 input `image` [1, 3, 4, 5] and one F16 output `score` [1, 2].
pub fn blob(shaves: u32) -> Vec<u8> {
    let end = |name: &str, element: u32, order: u32, dimensions: u32, shape: u32| {
        let mut entry = Vec::new();
        for word in [0, 0, name.len() as u32] {
            entry.extend(word.to_le_bytes());
        }
        entry.extend(name.as_bytes());
        for word in [element, order, dimensions, 3, shape, 3, 0] {
            entry.extend(word.to_le_bytes());
        }
        entry
    };
    let (input, output) = (end("image\0\0\0", 1, 0x4321, 4, 0), end("score\0\0\0", 0, 0x21, 2, 16));
    let inputs_at = 132;
    let outputs_at = inputs_at + input.len() as u32;
    let data_at = outputs_at + output.len() as u32;
    let shapes = [5_u32, 4, 3, 1, 2, 1];
    let size = data_at + 4 * shapes.len() as u32;
    let mut bytes = b"\x7felf".to_vec();
    bytes.resize(52, 0);
    let header = [9709, size, 6, 0, 1, 1, 7, 0, 0, 1, 0, shaves, shaves, 1, 1, 1, inputs_at, outputs_at, 0, data_at];
    for word in header {
        bytes.extend(u32::to_le_bytes(word));
    }
    bytes.extend(input);
    bytes.extend(output);
    bytes.extend(shapes.iter().flat_map(|dimension| dimension.to_le_bytes()));
    bytes
}
