// esbuild bundles a view's stylesheet beside its script.
declare module '*.css';
