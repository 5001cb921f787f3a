// Style is small; the rules that matter hold the architecture's invariants (docs/architecture.md) and find lost promises.
import tseslint from 'typescript-eslint';

/** Folders that may not import these paths as values; types are free. */
const forbid = (files, patterns, message) => ({
  files,
  rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns: patterns.map((group) => ({ group: [group], message, allowTypeImports: true })) }] },
});

export default tseslint.config(
  { ignores: ['dist/**', 'build/**', 'native/build*/**', 'node_modules/**', 'test-artifacts/**'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommended],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      'no-console': 'error',
      curly: 'error',
      eqeqeq: 'error',
    },
  },
  forbid(['client/src/**/*.ts', 'webview/src/controls.ts'], ['**/server/**'], 'client and webview import only types from server (docs/architecture.md 1).'),
  forbid(['server/src/language/**/*.ts'], ['vscode', 'vscode-languageserver', 'vscode-languageserver/*', '**/engine/*'], 'language features are pure: no connection, no engine (docs/architecture.md 2).'),
  forbid(['server/src/checkpoint/**/*.ts'], ['../config/*', '../analysis/*', '../language/*', '../engine/*', '../methods/*', '../server'], 'imports follow the data: checkpoint is the first station (docs/architecture.md 5).'),
  forbid(['server/src/methods/**/*.ts'], ['../config/*', '../analysis/*', '../language/*', '../engine/*', '../checkpoint/*', '../server'], 'a method knows only protocol types (docs/architecture.md 5).'),
  forbid(['server/src/config/**/*.ts'], ['../analysis/*', '../lints/*', '../language/*', '../engine/*', '../server'], 'config comes before analysis and language (docs/architecture.md 5).'),
  forbid(['server/src/models/**/*.ts', 'server/src/samplers/**/*.ts'], ['../config/*', '../analysis/*', '../preview/*', '../language/*', '../server', '../cli/*'], 'models and samplers know checkpoints and programs, nothing else (docs/architecture.md 5).'),
  forbid(['server/src/preview/**/*.ts'], ['../analysis/*', '../lints/*', '../language/*', '../server', '../cli/*'], 'previews know neither editor nor command line (docs/architecture.md 5).'),
  forbid(['server/src/lints/**/*.ts'], ['../analysis/*', '../language/*', '../engine/*', '../server', '../cli/*'], 'lints know configs, checkpoints and previews, and run nothing (docs/architecture.md 5).'),
  forbid(['server/src/analysis/**/*.ts'], ['../language/*', '../server', '../cli/*'], 'analysis knows neither editor nor command line (docs/architecture.md 5).'),
  {
    ...forbid(['webview/src/**/*.ts'], ['@vscode/webview-ui-toolkit', '**/server/**'], 'webview imports only types from server, and the toolkit through controls.ts alone (docs/architecture.md 1, 6).'),
    ignores: ['webview/src/controls.ts'],
  },
  { files: ['bench/**/*.ts'], rules: { 'no-console': 'off' } },
);
