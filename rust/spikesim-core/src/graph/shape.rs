//! Shapes: what a node makes of the shapes that come in, and whether they fit it at all.

use super::node::{Conv, Linear, Op, Pool};
use crate::error::{Error, Result, tuple};

/// The most values one node may have, for one sample at one step: indices fit in 31 bits.
pub const MAX_VALUES: usize = i32::MAX as usize;

/// The most axes of a value.
pub const MAX_AXES: usize = 8;

/// Number of values of `shape`; `None` when it is more than [`MAX_VALUES`].
pub fn volume(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_VALUES)
}

/// Checks a shape by itself: at least one axis, none of them empty, not too large.
pub(super) fn check_shape(place: &str, name: &str, shape: &[usize]) -> Result<()> {
    if shape.is_empty() {
        return Err(Error::shape(place, name, shape, "at least one axis"));
    }
    if shape.len() > MAX_AXES {
        return Err(Error::shape(place, name, shape, format!("at most {MAX_AXES} axes")));
    }
    if shape.contains(&0) {
        return Err(Error::shape(place, name, shape, "no empty axis"));
    }
    if volume(shape).is_none() {
        let expected = format!("at most {MAX_VALUES} values");
        return Err(Error::shape(place, name, shape, expected));
    }
    Ok(())
}

/// Shape of the node's output; `inputs` are the shapes of its edges, of which there is at least
/// one. Everything but Concat adds its edges, so they must agree.
pub(super) fn infer(place: &str, op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    let first = inputs[0];
    if !matches!(op, Op::Concat { .. }) {
        for shape in &inputs[1..] {
            if *shape != first {
                let expected = format!("{} as the input before it; inputs are added", tuple(first));
                return Err(Error::shape(place, "input", shape, expected));
            }
        }
    }
    let shape = match op {
        Op::Input { shape } => shape.clone(),
        Op::Linear(linear) => self::linear(place, linear, first)?,
        Op::Conv(conv) => self::conv(place, conv, first)?,
        Op::Pool(pool) => self::pool(place, pool, first)?,
        Op::AdaptiveAvgPool { output_size } => {
            image(place, first, 2)?;
            if output_size.contains(&0) {
                return Err(Error::graph(
                    place,
                    format!(
                        "output_size is {}, expected at least 1 on both axes",
                        tuple(output_size)
                    ),
                ));
            }
            vec![first[0], output_size[0], output_size[1]]
        }
        Op::Flatten { start_dim, end_dim } => flatten(place, *start_dim, *end_dim, first)?,
        Op::Concat { axis } => concat(place, *axis, inputs)?,
        Op::Upsample { scale_factor } => {
            image(place, first, 2)?;
            let scaled = |n: usize, f: usize| n.checked_mul(f).filter(|&m| m > 0);
            match (scaled(first[1], scale_factor[0]), scaled(first[2], scale_factor[1])) {
                (Some(y), Some(x)) => vec![first[0], y, x],
                _ => {
                    let problem = format!(
                        "scale_factor is {}, expected at least 1 and small",
                        tuple(scale_factor)
                    );
                    return Err(Error::graph(place, problem));
                }
            }
        }
        Op::BatchNorm(_) | Op::Scale { .. } | Op::Delay { .. } | Op::Add | Op::Neuron(_) => {
            first.to_vec()
        }
    };
    check_shape(place, "output", &shape)?;
    Ok(shape)
}

/// The input must be (C, L) or (C, H, W).
fn image(place: &str, shape: &[usize], dims: usize) -> Result<()> {
    if shape.len() != dims + 1 {
        let expected = if dims == 1 { "(channels, length)" } else { "(channels, rows, columns)" };
        return Err(Error::shape(place, "input", shape, expected));
    }
    Ok(())
}

fn linear(place: &str, linear: &Linear, input: &[usize]) -> Result<Vec<usize>> {
    let weight = linear.weight.shape();
    if weight.len() != 2 || weight.contains(&0) {
        return Err(Error::shape(place, "weight", weight, "(n_out, n_in)"));
    }
    let (n_out, n_in) = (weight[0], weight[1]);
    if input.len() != 1 {
        let expected = "one axis; add Flatten() before it";
        return Err(Error::shape(place, "input", input, expected));
    }
    if input[0] != n_in {
        let expected = format!("({n_in},) as the weight {} has it", tuple(weight));
        return Err(Error::shape(place, "input", input, expected));
    }
    check_bias(place, linear.bias.as_ref().map(|b| b.shape()), n_out)?;
    Ok(vec![n_out])
}

fn check_bias(place: &str, bias: Option<&[usize]>, n_out: usize) -> Result<()> {
    match bias {
        Some(shape) if shape != [n_out] => {
            Err(Error::shape(place, "bias", shape, format!("({n_out},)")))
        }
        _ => Ok(()),
    }
}

impl Conv {
    /// (ky, kx); ky is 1 for one spatial axis.
    pub fn kernel_size(&self) -> [usize; 2] {
        match self.weight.shape() {
            [_, _, ky, kx] => [*ky, *kx],
            [_, _, kx] => [1, *kx],
            _ => [1, 1],
        }
    }
}

/// (rows, columns) of (C, L) or (C, H, W); rows is 1 for one spatial axis.
pub fn spatial(shape: &[usize]) -> [usize; 2] {
    match shape {
        [_, y, x] => [*y, *x],
        [_, x] => [1, *x],
        _ => [1, 1],
    }
}

/// (C, L) or (C, H, W) of a channel count and (rows, columns).
fn join(channels: usize, dims: usize, size: [usize; 2]) -> Vec<usize> {
    if dims == 1 { vec![channels, size[1]] } else { vec![channels, size[0], size[1]] }
}

/// "x" of one axis, "(y, x)" of two: how the caller wrote a pair.
fn shown(dims: usize, pair: [usize; 2]) -> String {
    if dims == 1 { pair[1].to_string() } else { format!("({}, {})", pair[0], pair[1]) }
}

/// What both convolutions and pools need: no stride (or dilation, or kernel) of 0, and none that
/// arithmetic on lengths would overflow with.
fn at_least_one(place: &str, name: &str, dims: usize, pair: [usize; 2]) -> Result<()> {
    if pair.iter().any(|n| !(1..=MAX_VALUES).contains(n)) {
        let found = shown(dims, pair);
        let problem = format!("{name} is {found}, expected at least 1, at most {MAX_VALUES}");
        return Err(Error::graph(place, problem));
    }
    Ok(())
}

fn conv(place: &str, conv: &Conv, input: &[usize]) -> Result<Vec<usize>> {
    let weight = conv.weight.shape();
    if weight.len() != conv.dims + 2 || weight.contains(&0) {
        let expected =
            if conv.dims == 1 { "(out, in/groups, kx)" } else { "(out, in/groups, ky, kx)" };
        return Err(Error::shape(place, "weight", weight, expected));
    }
    at_least_one(place, "stride", conv.dims, conv.stride)?;
    at_least_one(place, "dilation", conv.dims, conv.dilation)?;
    image(place, input, conv.dims)?;
    let (n_out, n_in) = (weight[0], input[0]);
    let groups = conv.groups;
    if groups == 0 || !n_out.is_multiple_of(groups) || !n_in.is_multiple_of(groups) {
        let problem = format!(
            "groups is {groups}, expected a divisor of the {n_in} input and {n_out} output channels"
        );
        return Err(Error::graph(place, problem));
    }
    if weight[1] != n_in / groups {
        let expected = format!(
            "{} channels as the weight {} with groups {groups} has it",
            weight[1].saturating_mul(groups),
            tuple(weight)
        );
        return Err(Error::shape(place, "input", input, expected));
    }
    check_bias(place, conv.bias.as_ref().map(|b| b.shape()), n_out)?;
    let (size, kernel) = (spatial(input), conv.kernel_size());
    let mut out = [1; 2];
    for a in 0..2 {
        out[a] = conv.dilation[a]
            .checked_mul(kernel[a] - 1)
            .and_then(|n| n.checked_add(1))
            .zip(padded(size[a], conv.padding[a]))
            .filter(|(extent, padded)| extent <= padded)
            .map(|(extent, padded)| (padded - extent) / conv.stride[a] + 1)
            .ok_or_else(|| {
                let problem = format!(
                    "kernel {} with dilation {} is larger than the padded input {}, expected it \
                     to fit; pad more or dilate less",
                    shown(conv.dims, kernel),
                    shown(conv.dims, conv.dilation),
                    shown(conv.dims, [0, 1].map(|a| padded(size[a], conv.padding[a]).unwrap_or(0))),
                );
                Error::graph(place, problem)
            })?;
    }
    Ok(join(n_out, conv.dims, out))
}

/// Length of an axis with its padding; `None` when it is absurd.
fn padded(length: usize, padding: [usize; 2]) -> Option<usize> {
    length.checked_add(padding[0])?.checked_add(padding[1]).filter(|&n| n <= MAX_VALUES)
}

fn pool(place: &str, pool: &Pool, input: &[usize]) -> Result<Vec<usize>> {
    let dims = pool.dims;
    at_least_one(place, "kernel_size", dims, pool.kernel_size)?;
    at_least_one(place, "stride", dims, pool.stride)?;
    image(place, input, dims)?;
    let size = spatial(input);
    let mut out = [1; 2];
    for a in 0..2 {
        let (kernel, stride) = (pool.kernel_size[a], pool.stride[a]);
        // Less than the kernel on each side: then every window holds something of the input.
        if let Some(p) = pool.padding[a].iter().find(|&&p| p >= kernel) {
            let problem =
                format!("padding is {p}, expected less than the window's {kernel} on each side");
            return Err(Error::graph(place, problem));
        }
        let padded = padded(size[a], pool.padding[a]).unwrap_or(0);
        let whole = (padded + stride).saturating_sub(kernel) / stride;
        // As in torch, ceil_mode adds a window that is not whole if it begins in the input or in
        // the padding before it.
        let rest = padded + stride > whole * stride + kernel;
        let begins = whole * stride < size[a] + pool.padding[a][0];
        out[a] = whole + usize::from(pool.ceil_mode && rest && begins);
        if out[a] == 0 {
            let problem = format!(
                "window {} is larger than the padded input {}, expected it to fit",
                shown(dims, pool.kernel_size),
                shown(dims, size),
            );
            return Err(Error::graph(place, problem));
        }
    }
    Ok(join(input[0], dims, out))
}

fn flatten(place: &str, start: usize, end: usize, input: &[usize]) -> Result<Vec<usize>> {
    if start > end || end >= input.len() {
        let problem = format!(
            "start_dim {start} and end_dim {end} are no range of the axes of {}, expected \
             start_dim <= end_dim < {}",
            tuple(input),
            input.len()
        );
        return Err(Error::graph(place, problem));
    }
    let mut shape = input[..start].to_vec();
    shape.push(volume(&input[start..=end]).unwrap_or(usize::MAX));
    shape.extend_from_slice(&input[end + 1..]);
    Ok(shape)
}

fn concat(place: &str, axis: usize, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    let mut shape = inputs[0].to_vec();
    if axis >= shape.len() {
        let problem =
            format!("axis is {axis}, expected less than the {} axes of its inputs", shape.len());
        return Err(Error::graph(place, problem));
    }
    for other in &inputs[1..] {
        let fits = other.len() == shape.len()
            && (0..shape.len()).all(|a| a == axis || other[a] == shape[a]);
        if !fits {
            let expected = format!("{} except along axis {axis}", tuple(inputs[0]));
            return Err(Error::shape(place, "input", other, expected));
        }
        shape[axis] = shape[axis].saturating_add(other[axis]);
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::graph::Tensor;
    use crate::graph::node::PoolKind;

    /// Counts the windows that begin where they may, one place after the other.
    fn places(length: usize, kernel: usize, stride: usize, [before, after]: [usize; 2]) -> usize {
        (0..).step_by(stride).take_while(|start| start + kernel <= before + length + after).count()
    }

    #[test]
    fn convolutions_have_a_place_for_each_window_that_fits() {
        for (length, k, stride, dilation) in
            (1..7).flat_map(|n| (1..4).flat_map(move |k| (1..4).map(move |s| (n, k, s, 2))))
        {
            for padding in [[0, 0], [1, 0], [2, 3]] {
                let conv = Conv {
                    dims: 1,
                    weight: Tensor::new(vec![1, 1, k], vec![0.0; k]).unwrap(),
                    bias: None,
                    delay: None,
                    stride: [1, stride],
                    padding: [[0, 0], padding],
                    dilation: [1, dilation],
                    groups: 1,
                };
                let expected = places(length, dilation * (k - 1) + 1, stride, padding);
                let found = infer("n", &Op::Conv(conv), &[&[1, length]]).ok();
                assert_eq!(found, (expected > 0).then(|| vec![1, expected]));
            }
        }
    }

    #[test]
    fn pools_keep_a_last_window_only_if_it_begins_in_the_input() {
        for (length, k, stride, ceil_mode) in (1..9)
            .flat_map(|n| (1..4).flat_map(move |k| (1..5).map(move |s| (n, k, s))))
            .flat_map(|(n, k, s)| [(n, k, s, false), (n, k, s, true)])
        {
            for padding in [[0, 0], [k - 1, 0], [0, k - 1]] {
                let pool = Pool {
                    dims: 1,
                    kind: PoolKind::Sum,
                    kernel_size: [1, k],
                    stride: [1, stride],
                    padding: [[0, 0], padding],
                    ceil_mode,
                };
                let whole = places(length, k, stride, padding);
                // With ceil_mode one more, if the whole ones leave something over.
                let next = whole * stride;
                let over = next + k < length + padding[0] + padding[1] + stride;
                let more = ceil_mode && over && next < length + padding[0];
                let expected = whole + usize::from(more);
                let found = infer("n", &Op::Pool(pool), &[&[1, length]]).ok();
                assert_eq!(found, (expected > 0).then(|| vec![1, expected]));
            }
        }
    }

    #[test]
    fn volumes_do_not_overflow() {
        assert_eq!(volume(&[]), Some(1));
        assert_eq!(volume(&[2, 3]), Some(6));
        assert_eq!(volume(&[usize::MAX, 2]), None);
        assert_eq!(volume(&[1 << 16, 1 << 15]), None);
    }
}
