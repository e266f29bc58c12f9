//! The discrete attributes that the written form of an operation has, by kind.

use serde::{Deserialize, Serialize};

use super::node::Gate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoAttributes {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConvAttributes<const N: usize> {
    #[serde(with = "fixed")]
    pub stride: [usize; N],
    #[serde(with = "fixed")]
    pub padding: [[usize; 2]; N],
    #[serde(with = "fixed")]
    pub dilation: [usize; N],
    pub groups: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolAttributes<const N: usize> {
    #[serde(with = "fixed")]
    pub kernel_size: [usize; N],
    #[serde(with = "fixed")]
    pub stride: [usize; N],
    #[serde(with = "fixed")]
    pub padding: [[usize; 2]; N],
    pub ceil_mode: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_include_pad: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

impl PoolAttributes<1> {
    /// The same window on an image of one row.
    pub(super) fn into_image(self) -> PoolAttributes<2> {
        PoolAttributes {
            kernel_size: [1, self.kernel_size[0]],
            stride: [1, self.stride[0]],
            padding: [[0, 0], self.padding[0]],
            ceil_mode: self.ceil_mode,
            count_include_pad: self.count_include_pad,
            gate: self.gate,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdaptiveAttributes {
    pub output_size: [usize; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlattenAttributes {
    pub start_dim: i64,
    pub end_dim: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NormAttributes {
    pub eps: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConcatAttributes {
    pub axis: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpsampleAttributes {
    pub scale_factor: [usize; 2],
}

/// Lists of exactly N entries (serde knows arrays of a generic length not by itself).
mod fixed {
    use serde::de::{DeserializeOwned, Error};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer, T: Serialize, const N: usize>(
        list: &[T; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        list.as_slice().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned, const N: usize>(
        from: D,
    ) -> Result<[T; N], D::Error> {
        let list = Vec::<T>::deserialize(from)?;
        let found = list.len();
        list.try_into()
            .map_err(|_| D::Error::invalid_length(found, &format!("{N} entries").as_str()))
    }
}
