import { workspaceSymbols } from '../language/workspaceSymbol';
import { workspaceConfigs } from './configs';
import type { Feature } from './feature';

export const workspaceSymbol: Feature = {
  capabilities: () => ({ workspaceSymbolProvider: true }),
  register(context) {
    context.connection.onWorkspaceSymbol(({ query }, token) => context.safely('workspace symbols', null, token, async () =>
      workspaceSymbols(await workspaceConfigs(context, token), query)));
  },
};
