import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import './design/tokens.css';
import './design/base.css';
import './design/parts.css';
import './shell/shell.css';
import './screens/screens.css';
import { applyTheme } from './lib/theme';
import { client, router } from './router';

applyTheme();
const place = document.getElementById('root');
if (!place) throw new Error('index.html has no element #root');
createRoot(place).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <RouterProvider router={router} />
    </QueryClientProvider>
  </StrictMode>,
);
