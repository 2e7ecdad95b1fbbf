//! The element types of tensors (`TensorProto.DataType`).
//!
//! Owns their numbers, names and sizes. Names are those that configurations use; types that no configuration can name
//! keep the lower-case form of the schema's name.

use std::fmt;

/// Declares the element types: variant, number in the schema, name, bits of one element (0: no fixed size).
macro_rules! element_types {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $bits:literal;)*) => {
        /// The type of a tensor's elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ElementType {
            $($(#[$doc])* $variant,)*
        }

        impl ElementType {
            /// All element types, in the order of the schema.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the type with this number in the schema; `None` for an unknown number and for "undefined" (0).
            pub const fn from_code(code: i32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Returns the number in the schema.
            pub const fn code(self) -> i32 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// Returns the name as configurations spell it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns how many bits one element takes in `raw_data`, or `None` for text.
            pub const fn bits(self) -> Option<u64> {
                match self {
                    $(Self::$variant => if $bits == 0 { None } else { Some($bits) },)*
                }
            }
        }
    };
}

element_types! {
    /// IEEE 754 binary32.
    Float32 = 1, "float32", 32;
    /// Unsigned, 8 bits.
    Uint8 = 2, "uint8", 8;
    /// Signed, 8 bits.
    Int8 = 3, "int8", 8;
    /// Unsigned, 16 bits.
    Uint16 = 4, "uint16", 16;
    /// Signed, 16 bits.
    Int16 = 5, "int16", 16;
    /// Signed, 32 bits.
    Int32 = 6, "int32", 32;
    /// Signed, 64 bits.
    Int64 = 7, "int64", 64;
    /// Text in UTF-8.
    String = 8, "string", 0;
    /// One byte, 0 or 1.
    Boolean = 9, "boolean", 8;
    /// IEEE 754 binary16.
    Float16 = 10, "float16", 16;
    /// IEEE 754 binary64.
    Float64 = 11, "float64", 64;
    /// Unsigned, 32 bits.
    Uint32 = 12, "uint32", 32;
    /// Unsigned, 64 bits.
    Uint64 = 13, "uint64", 64;
    /// Two binary32.
    Complex64 = 14, "complex64", 64;
    /// Two binary64.
    Complex128 = 15, "complex128", 128;
    /// The upper half of a binary32.
    Bfloat16 = 16, "bfloat16", 16;
    /// 4 exponent bits, 3 mantissa bits, finite.
    Float8E4M3Fn = 17, "float8e4m3fn", 8;
    /// As before, without negative zero.
    Float8E4M3Fnuz = 18, "float8e4m3fnuz", 8;
    /// 5 exponent bits, 2 mantissa bits.
    Float8E5M2 = 19, "float8e5m2", 8;
    /// As before, finite and without negative zero.
    Float8E5M2Fnuz = 20, "float8e5m2fnuz", 8;
    /// Unsigned, two in a byte.
    Uint4 = 21, "uint4", 4;
    /// Signed, two in a byte.
    Int4 = 22, "int4", 4;
    /// 2 exponent bits, 1 mantissa bit, two in a byte.
    Float4E2M1 = 23, "float4e2m1", 4;
    /// A power of two.
    Float8E8M0 = 24, "float8e8m0", 8;
    /// Unsigned, four in a byte.
    Uint2 = 25, "uint2", 2;
    /// Signed, four in a byte.
    Int2 = 26, "int2", 2;
}

impl ElementType {
    /// Returns whether the type is one of the floating types that arithmetic operators take.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::Float32 | Self::Float64 | Self::Bfloat16)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::ElementType;

    #[test]
    fn codes_and_names_are_one_to_one() {
        for (index, &element) in ElementType::ALL.iter().enumerate() {
            assert_eq!(element.code() as usize, index + 1, "{element}");
            assert_eq!(ElementType::from_code(element.code()), Some(element));
        }
        for code in [0, -1, 27, 28, i32::MAX, i32::MIN] {
            assert_eq!(ElementType::from_code(code), None, "{code}");
        }
        let names: std::collections::BTreeSet<_> = ElementType::ALL.iter().map(|element| element.as_str()).collect();
        assert_eq!(names.len(), ElementType::ALL.len());
        for name in
            ["bfloat16", "float16", "float32", "float64", "int4", "int8", "uint4", "uint64", "boolean", "string"]
        {
            assert!(names.contains(name), "{name}");
        }
    }
}
