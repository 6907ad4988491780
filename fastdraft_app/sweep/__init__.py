"""The sweep screen: measuring drafts and gammas while charts fill."""
