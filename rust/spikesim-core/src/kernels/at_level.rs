//! One compiled copy of a kernel for every instruction set, chosen at run time.

/// `unsafe fn name(args) = body;` defines `name(level, args)`, which runs `body::<S>(args)`,
/// compiled for the instruction set of `level`. The caller has to know that the CPU has it, and
/// whatever else `body` asks for.
macro_rules! at_level {
    ($(#[$doc:meta])* unsafe fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? = $body:ident;) => {
        $(#[$doc])*
        unsafe fn $name(level: $crate::kernels::level::Level, $($arg: $type),*) $(-> $out)? {
            use $crate::kernels::level::Level;

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            unsafe fn avx2($($arg: $type),*) $(-> $out)? {
                // SAFETY: handed on.
                unsafe { $body::<$crate::kernels::simd_x86::Avx2>($($arg),*) }
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
            unsafe fn avx512($($arg: $type),*) $(-> $out)? {
                // SAFETY: handed on.
                unsafe { $body::<$crate::kernels::simd_x86::Avx512>($($arg),*) }
            }

            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon($($arg: $type),*) $(-> $out)? {
                // SAFETY: handed on.
                unsafe { $body::<$crate::kernels::simd_neon::Neon>($($arg),*) }
            }

            // SAFETY: the caller knows that the CPU has the level; the rest is handed on.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    Level::Neon => neon($($arg),*),
                    _ => $body::<$crate::kernels::simd::Portable>($($arg),*),
                }
            }
        }
    };
}
pub(super) use at_level;
