// The packages that hold the binaries, one a platform: their names, and what their binaries need. lib/binary.ts looks for
// them, scripts/packages.js makes them; no other place says these names.

/** Before the slash of every name; an organisation of the registry. */
const scope = '@deeplab';

/** `linux-x64` and the like, as Node names them: `${process.platform}-${process.arch}`. */
export type Platform = 'linux-x64' | 'linux-arm64';

/** What has a binary. */
export const platforms: readonly Platform[] = ['linux-x64', 'linux-arm64'];

/** What has a CUDA backend besides. */
export const cudaPlatforms: readonly Platform[] = ['linux-x64'];

/** The name of the package with the addon and the libraries that it needs. */
export const binaryPackage = (platform: string): string => `${scope}/${platform}`;

/** The name of the package with deeplab_cuda.so, the CUDA backend. */
export const cudaPackage = (platform: string): string => `${scope}/${platform}-cuda`;

/**
 * The oldest C libraries that the binaries load with, by the name of their symbol versions. Nothing else that they need
 * is outside of the packages. scripts/packages.js refuses to make packages that need newer ones.
 */
export const oldestLibraries = { GLIBC: '2.34', GLIBCXX: '3.4.29', CXXABI: '1.3.13', GCC: '3.4' } as const;
