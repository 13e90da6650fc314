// The version of this package, as package.json says it: the one place that reads that file.

/** Version of the package, such as `0.1.0`. */
export const version: string = (require('../package.json') as { version: string }).version;
