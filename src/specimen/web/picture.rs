//! Pictures made of arithmetic, the same each time, in formats that need no compression.

/// Bytes of a bitmap before its pixels: file header, picture header, 256 shades of grey.
const HEADER_BYTES: u32 = 14 + 40 + 256 * 4;

/// The side of an icon, in pixels.
const ICON_SIDE: u8 = 16;

/// A BMP picture in shades of grey; `shade` gives that of the pixel in column and row.
pub fn bitmap(width: u16, height: u16, shade: impl Fn(u16, u16) -> u8) -> Vec<u8> {
    let row_bytes = width.next_multiple_of(4);
    let len = HEADER_BYTES + u32::from(row_bytes) * u32::from(height);
    let mut bytes = b"BM".to_vec();
    for field in [len, 0, HEADER_BYTES] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(picture_header(width.into(), height.into(), 8));
    for grey in 0..=u8::MAX {
        bytes.extend([grey, grey, grey, 0]);
    }
    for row in 0..height {
        bytes.extend((0..width).map(|column| shade(column, row)));
        // A row takes a multiple of four bytes.
        bytes.extend((width..row_bytes).map(|_| 0));
    }
    bytes
}

/// An ICO picture of 16 by 16 pixels in one colour, given as blue, green and red.
pub fn icon(colour: [u8; 3]) -> Vec<u8> {
    let side = usize::from(ICON_SIDE);
    // The picture has twice its height: a mask of one bit a pixel, four bytes a row, follows it.
    let mut picture = picture_header(ICON_SIDE.into(), u32::from(ICON_SIDE) * 2, 32);
    let [blue, green, red] = colour;
    picture.extend([blue, green, red, u8::MAX].repeat(side * side));
    picture.extend([0; 4].repeat(side));
    let len = u32::try_from(picture.len()).unwrap_or_default();
    let mut bytes = vec![0, 0, 1, 0, 1, 0, ICON_SIDE, ICON_SIDE, 0, 0, 1, 0, 32, 0];
    bytes.extend(len.to_le_bytes());
    bytes.extend(22_u32.to_le_bytes()); // where the picture begins
    bytes.extend(picture);
    bytes
}

/// BITMAPINFOHEADER: uncompressed pixels of `depth` bits, the lowest row first.
fn picture_header(width: u32, height: u32, depth: u32) -> Vec<u8> {
    let planes_and_depth = 1 | depth << 16;
    let fields = [40, width, height, planes_and_depth, 0, 0, 0, 0, 0, 0];
    fields
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_tells_its_own_length() {
        for (width, row_bytes) in [(4, 4), (5, 8)] {
            let bytes = bitmap(width, 3, |column, row| u8::from(column == row));
            assert_eq!(bytes.len(), 1078 + row_bytes * 3);
            let told = u32::from_le_bytes(bytes[2..6].try_into().unwrap());
            assert_eq!(told as usize, bytes.len());
        }
    }

    #[test]
    fn an_icon_has_its_picture_where_it_says() {
        let bytes = icon([1, 2, 3]);
        assert_eq!(bytes.len(), 22 + 40 + 16 * 16 * 4 + 16 * 4);
        assert_eq!(bytes[22], 40);
    }
}
